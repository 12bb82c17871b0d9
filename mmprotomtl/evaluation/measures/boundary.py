"""Edges: F-measure of boundaries."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mmprotomtl.boundary import count, scores, suppress
from mmprotomtl.registry import TASK_MEASURES

from .base import Measure


@TASK_MEASURES.register_module()
class BoundaryF(Measure):
    """F-measures in percent of the boundary benchmark of BSDS500.

    The prediction is rounded to the 256 levels of the images that the Matlab
    program reads, and thinned at each threshold. Its pixels are matched one to
    one, as many as possible, with those of the label, which is not thinned.

    Args:
        max_dist: Greatest distance of a pair as a share of the diagonal.
        num_thresholds: Evenly spaced in (0, 1).
        nms: Suppress what is not a maximum across its edge first.
    """

    slow: ClassVar[bool] = True

    def __init__(
        self,
        max_dist: float = 0.0075,
        num_thresholds: int = 99,
        nms: bool = False,
    ) -> None:
        self.max_dist = max_dist
        self.num_thresholds = num_thresholds
        self.nms = nms

    def statistics(self, pred: Tensor, label: Tensor, valid: Tensor) -> Tensor:
        """Per threshold, and at the image's best one: right and all
        predicted, found and all true.
        """
        known = valid.cpu().numpy()
        prob = np.rint(pred[0].double().cpu().numpy() * 255) / 255
        if self.nms:
            prob = suppress(prob)
        truth = (label[0].cpu().numpy() == 1) & known
        counts = count(
            np.where(known, prob, 0),
            [truth],
            self.max_dist,
            self.num_thresholds,
        )
        return torch.from_numpy(counts.astype(np.float64).ravel())

    def compute(self, total: np.ndarray) -> dict[str, float]:
        """``odsF``, ``oisF`` and ``AP``."""
        values = scores(total.reshape(-1, 4))
        return {
            name: 100 * values[key]
            for name, key in (('odsF', 'ODS'), ('oisF', 'OIS'), ('AP', 'AP'))
        }
