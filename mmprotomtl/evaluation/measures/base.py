"""How a task is scored, with memory that does not grow with the data set."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from torch import Tensor


class Measure(ABC):
    """A score pooled over a data set by sums of sufficient statistics.

    Subclasses are registered in ``TASK_MEASURES`` and named by their tasks.
    The statistics of a data set are the sum of those of its images, whatever
    the batches and processes in which these came.

    A prediction that says nothing must not score well: what has a worst value
    gets it (a vector without a length, a pixel of no class), and NaN or
    infinite predictions make the scores NaN, which the evaluator warns of.
    """

    #: Whether an image takes so long that processes of their own pay off.
    slow: ClassVar[bool] = False

    @abstractmethod
    def statistics(self, pred: Tensor, label: Tensor, valid: Tensor) -> Tensor:
        """Statistics of one image.

        Args:
            pred: What :meth:`Task.predict` gave, ``P x H x W``.
            label: ``L x H x W``.
            valid: Which pixels have a label, bool ``H x W``.

        Returns:
            A float64 vector of a length that is the same for every image.
        """

    @abstractmethod
    def compute(self, total: np.ndarray) -> dict[str, float]:
        """Scores of the summed statistics; NaN where there is no data."""


def not_finite(values: Tensor) -> Tensor:
    """NaN where one of the values is NaN or infinite, else 0: to be added to
    statistics that would hide it.
    """
    return (values.double() * 0).sum()


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``, NaN where ``whole`` is 0."""
    part, whole = np.broadcast_arrays(part, whole)
    result = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole != 0)
    return result
