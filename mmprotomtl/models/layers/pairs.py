"""Select (image, task) pairs of a batch, such as those with a label."""

from collections.abc import Iterable

import torch
from torch import Tensor


def take(feature: Tensor, rows: list[int]) -> Tensor:
    """Select rows of a tensor by indices that are known on the CPU.

    Unlike indexing by a tensor, this copies no index to the device. An empty
    selection still has a gradient (of zeros).

    Args:
        feature: ``N x ...``.
        rows: Indices of rows.

    Returns:
        ``len(rows) x ...``.
    """
    if not rows:
        return feature[:0]
    if rows == list(range(len(feature))):
        return feature
    return torch.stack([feature[row] for row in rows])


def take_pairs(features: Iterable[Tensor], pairs: list[list[int]]) -> Tensor:
    """Select rows of one tensor per task and concatenate them.

    Args:
        features: For each task, a tensor ``N x ...``.
        pairs: For each task, the indices of the images to select.

    Returns:
        ``P x ...``, where P is the total number of pairs; the pairs of the
        first task come first.
    """
    both = zip(features, pairs, strict=True)
    return torch.cat([take(feature, rows) for feature, rows in both])
