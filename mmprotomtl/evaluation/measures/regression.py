"""Errors of depth."""

import numpy as np
import torch
from torch import Tensor

from mmprotomtl.registry import TASK_MEASURES

from .base import Measure, ratio


@TASK_MEASURES.register_module()
class RegressionError(Measure):
    """RMSE, mean absolute and mean relative error, pooled over pixels.

    In the unit of the label (metres); the relative error is a share.
    """

    def statistics(self, pred: Tensor, label: Tensor, valid: Tensor) -> Tensor:
        """Pixels, and the sums of the squared, absolute, relative error."""
        truth = label[0][valid].double()
        error = (pred[0][valid].double() - truth).abs()
        return torch.stack(
            [
                valid.sum().double(),
                error.square().sum(),
                error.sum(),
                (error / truth).sum(),
            ]
        )

    def compute(self, total: np.ndarray) -> dict[str, float]:
        """``RMSE``, ``absErr`` and ``relErr``."""
        square, absolute, relative = ratio(total[1:], total[0])
        return dict(RMSE=np.sqrt(square), absErr=absolute, relErr=relative)
