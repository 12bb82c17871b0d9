"""Some (image, task) pairs of a batch: those that have a label."""

from collections.abc import Iterable

import torch
from torch import Tensor


def take(feature: Tensor, rows: list[int]) -> Tensor:
    """Rows of a tensor, by numbers known on the host.

    No index travels to the device, and no rows leave a gradient of zeros.
    """
    if not rows:
        return feature[:0]
    if rows == list(range(len(feature))):
        return feature
    return torch.stack([feature[row] for row in rows])


def take_pairs(features: Iterable[Tensor], pairs: list[list[int]]) -> Tensor:
    """The same of one tensor for each task, ``N x ...``, in one tensor.

    Args:
        features: For each task a tensor.
        pairs: For each task the images asked for.

    Returns:
        ``P x ...``, the pairs of the first task first.
    """
    both = zip(features, pairs, strict=True)
    return torch.cat([take(feature, rows) for feature, rows in both])
