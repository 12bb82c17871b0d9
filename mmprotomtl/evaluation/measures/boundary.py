"""Edges: F-measure of boundaries."""

import cv2
import numpy as np
import torch
from torch import Tensor

from mmprotomtl.registry import MEASURES

from .base import Measure, ratio


@MEASURES.register_module()
class BoundaryF(Measure):
    """F-measure in percent at the best threshold of the data set (ODS).

    A predicted pixel is right if a true one lies within ``max_dist`` of it,
    and a true one is found the same way round. This is the tolerant count, not
    yet the one-to-one matching of the Matlab benchmark: use it to compare
    models with each other, not with published numbers.

    Args:
        max_dist: Tolerance as a share of the image's diagonal.
        num_thresholds: Evenly spaced in (0, 1).
    """

    def __init__(
        self, max_dist: float = 0.0075, num_thresholds: int = 19
    ) -> None:
        self.max_dist = max_dist
        self.thresholds = (np.arange(num_thresholds) + 1) / (
            num_thresholds + 1
        )

    def statistics(self, pred: Tensor, label: Tensor, valid: Tensor) -> Tensor:
        """Per threshold: right and all predicted, found and all true."""
        prob = pred[0].cpu().numpy()
        known = valid.cpu().numpy()
        truth = (label[0].cpu().numpy() == 1) & known
        reach = self.max_dist * np.hypot(*truth.shape)
        near_truth = _distance(truth) <= reach
        counts = []
        for threshold in self.thresholds:
            guess = (prob >= threshold) & known
            found = truth & (_distance(guess) <= reach)
            counts.append(
                [
                    (guess & near_truth).sum(),
                    guess.sum(),
                    found.sum(),
                    truth.sum(),
                ]
            )
        return torch.from_numpy(np.asarray(counts, np.float64).ravel())

    def compute(self, total: np.ndarray) -> dict[str, float]:
        """``odsF``."""
        right, guessed, found, true = total.reshape(-1, 4).T
        if not true.any():
            return dict(odsF=np.nan)
        precision, recall = ratio(right, guessed), ratio(found, true)
        score = ratio(2 * precision * recall, precision + recall)
        return dict(odsF=100 * np.nanmax(np.nan_to_num(score)))


def _distance(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest one of ``mask``, in pixels."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return cv2.distanceTransform(
        (~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
