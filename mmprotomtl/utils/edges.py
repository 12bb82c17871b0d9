"""Boundaries between the regions of a label."""

import numpy as np


def label_edges(label: np.ndarray) -> np.ndarray:
    """Mark pixels whose right or lower neighbour has another class.

    Returns:
        Bool ``H x W``.
    """
    edges = np.zeros(label.shape, bool)
    edges[:, :-1] |= label[:, :-1] != label[:, 1:]
    edges[:-1] |= label[:-1] != label[1:]
    return edges


def known_edges(label: np.ndarray, unknown: int) -> np.ndarray:
    """As :func:`label_edges`, of a label in which some pixels have no class.

    Args:
        label: ``H x W``.
        unknown: The value of pixels without a class.

    Returns:
        ``H x W`` uint8: 1 where the right or the lower neighbour is known to
        have another class; 0 where both are known to have the same; else 255.
    """
    labelled = label != unknown
    edges = np.zeros(label.shape, np.uint8)
    sure = labelled.copy()
    for ours, theirs in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
    ):
        both = labelled[ours] & labelled[theirs]
        edges[ours] |= both & (label[ours] != label[theirs])
        sure[ours] &= both
    return np.where(edges | sure, edges, np.uint8(255))
