"""Saliency: F-measure and overlap over thresholds."""

import numpy as np
import torch
from torch import Tensor

from mmprotomtl.registry import TASK_MEASURES

from .base import Measure, ratio


@TASK_MEASURES.register_module()
class ForegroundF(Measure):
    """Maximal F-measure of saliency in percent, and mean absolute error.

    Precision and recall are pooled over the data set at each threshold
    (.05, .10, .. .95), F = (1 + b) P R / (b P + R), maximum over thresholds.

    Args:
        beta_square: b; the field uses 0.3.
        compatible: Put the probability through a second sigmoid before it
            meets the thresholds, as the code of InvPT and its descendants
            does: only the cuts at .2007, .4055, .619 and .8473 (and none at
            all) are left. For comparison with their published numbers; MAE is
            not touched.
    """

    def __init__(
        self, beta_square: float = 0.3, compatible: bool = False
    ) -> None:
        self.beta_square = beta_square
        self.compatible = compatible
        self.thresholds = torch.arange(1, 20) / 20

    def statistics(self, pred: Tensor, label: Tensor, valid: Tensor) -> Tensor:
        """How many pixels reach each threshold: false ones, true ones; then
        pixels, summed error.
        """
        prob, truth = pred[0][valid].float(), label[0][valid].long()
        levels = len(self.thresholds) + 1
        level = torch.bucketize(
            prob.sigmoid() if self.compatible else prob,
            self.thresholds.to(prob.device),
            right=True,
        )
        count = torch.bincount(truth * levels + level, minlength=2 * levels)
        # reached[k]: pixels at or above threshold k; [0]: all pixels.
        reached = count.reshape(2, levels).flip(1).cumsum(1).flip(1)
        error = (prob - truth).abs().double().sum()
        return torch.cat([reached.flatten().double(), error[None]])

    def compute(self, total: np.ndarray) -> dict[str, float]:
        """``maxF`` and ``MAE``."""
        false, true = total[:-1].reshape(2, -1)
        pixels = false[0] + true[0]
        if not pixels:
            return dict(maxF=np.nan, MAE=np.nan)
        # F in counts, which needs no case for an empty prediction:
        # (1 + b) TP / (b * positives + predicted positives).
        score = ratio(
            (1 + self.beta_square) * true[1:],
            self.beta_square * true[0] + (true + false)[1:],
        )
        best = np.nanmax(score) if true[0] else np.nan
        return dict(maxF=100 * best, MAE=total[-1] / pixels)


@TASK_MEASURES.register_module()
class ForegroundOverlap(Measure):
    """IoU of the foreground in percent as in MTI-Net's line: the mean over
    images at each threshold (.20, .25, .. .90), and the best of these means.

    A pixel is foreground above the threshold. An image with foreground in
    neither label nor prediction has an IoU of 1; one without a labelled pixel
    is left out.
    """

    def __init__(self) -> None:
        self.thresholds = torch.linspace(0.2, 0.9, 15)

    def statistics(self, pred: Tensor, label: Tensor, valid: Tensor) -> Tensor:
        """1 for a labelled image, and its IoU at each threshold."""
        prob, truth = pred[0][valid].float(), label[0][valid] == 1
        if not prob.numel():
            return torch.zeros(1 + len(self.thresholds)).double()
        guess = prob > self.thresholds.to(prob.device)[:, None]
        both = (guess & truth).sum(1).double()
        any_ = (guess | truth).sum(1).double()
        iou = torch.where(any_ > 0, both / any_.clamp(min=1), 1.0)
        return torch.cat([iou.new_ones(1), iou])

    def compute(self, total: np.ndarray) -> dict[str, float]:
        """``mIoU``."""
        return dict(mIoU=100 * ratio(total[1:], total[0]).max())
