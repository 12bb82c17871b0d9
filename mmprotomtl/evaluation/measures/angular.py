"""Errors of surface normals."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmprotomtl.registry import TASK_MEASURES

from .base import Measure, ratio


@TASK_MEASURES.register_module()
class AngularError(Measure):
    """Angle between unit vectors, pooled over pixels: mean and RMS in degrees
    and the percentage of pixels below each threshold.

    Args:
        thresholds: In degrees.
    """

    def __init__(
        self, thresholds: Sequence[float] = (11.25, 22.5, 30)
    ) -> None:
        self.thresholds = tuple(thresholds)

    def statistics(self, pred: Tensor, label: Tensor, valid: Tensor) -> Tensor:
        """Pixels, sums of the angle and its square, pixels below each."""
        a, b = pred[:, valid].double(), label[:, valid].double()
        # atan2 keeps its accuracy at 0 and 180 degrees, where acos loses it.
        angle = torch.atan2(
            torch.linalg.cross(a, b, dim=0).norm(dim=0), (a * b).sum(0)
        ).rad2deg()
        below = [(angle < threshold).sum() for threshold in self.thresholds]
        sums = [valid.sum(), angle.sum(), angle.square().sum(), *below]
        return torch.stack([value.double() for value in sums])

    def compute(self, total: np.ndarray) -> dict[str, float]:
        """``mErr``, ``rmse`` and ``within_<threshold>``."""
        mean, square, *below = ratio(total[1:], total[0])
        scores = dict(mErr=mean, rmse=np.sqrt(square))
        for threshold, share in zip(self.thresholds, below, strict=True):
            scores[f'within_{threshold:g}'] = 100 * share
        return scores
