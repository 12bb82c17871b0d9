"""Overlap of classes: mIoU."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmprotomtl.registry import TASK_MEASURES
from mmprotomtl.utils.errors import check_choice

from .base import Measure, ratio


@TASK_MEASURES.register_module()
class ClassOverlap(Measure):
    """mIoU and pixel accuracy in percent, from one confusion matrix.

    Args:
        num_classes: Number of classes.
        classes: Their names, for reports.
        absent: A class in neither labels nor predictions: ``ignore`` it in
            the mean (MTAN's line), or let it count as ``zero`` (InvPT's).
    """

    def __init__(
        self,
        num_classes: int,
        classes: Sequence[str] | None = None,
        absent: str = 'ignore',
    ) -> None:
        check_choice('ClassOverlap.absent', absent, ('ignore', 'zero'))
        self.num_classes = num_classes
        self.classes = classes
        self.absent = absent

    def statistics(self, pred: Tensor, label: Tensor, valid: Tensor) -> Tensor:
        """The confusion matrix, rows true and columns predicted, flat."""
        pair = label[0][valid].long() * self.num_classes + pred[0][valid]
        return torch.bincount(pair, minlength=self.num_classes**2).double()

    def compute(self, total: np.ndarray) -> dict[str, float]:
        """``mIoU`` and ``pixAcc``."""
        matrix = total.reshape(self.num_classes, self.num_classes)
        hit = matrix.diagonal()
        iou = ratio(hit, matrix.sum(0) + matrix.sum(1) - hit)
        if not matrix.any():
            return dict(mIoU=np.nan, pixAcc=np.nan)
        if self.absent == 'zero':
            iou = np.nan_to_num(iou)
        return dict(
            mIoU=100 * np.nanmean(iou),
            pixAcc=100 * float(hit.sum() / matrix.sum()),
        )
