"""Sums that do not depend on the order of what is added."""

import math
from collections.abc import Iterable

import numpy as np


class ExactSum:
    """The sum of float64 vectors, without rounding until it is asked for.

    A plain sum of floats changes in its last digits with the order, so with
    batches and processes. Here what an addition rounds off is kept and added
    to a part of its own (Knuth's two-sum), as in Shewchuk, "Adaptive Precision
    Floating-Point Arithmetic" (1997). Four parts hold 200 binary digits: more
    than all sums of an evaluation have.
    """

    PARTS = 4

    def __init__(self) -> None:
        self.parts: np.ndarray | None = None

    def add(self, vector: np.ndarray) -> None:
        """Add a vector, float64 of a length that is always the same."""
        if self.parts is None:
            self.parts = np.zeros((self.PARTS, len(vector)))
        rest = vector
        # An infinite statistic makes inf - inf: the sum is then not finite.
        with np.errstate(invalid='ignore'):
            for part in self.parts:
                total = part + rest
                taken = total - part
                rest = (part - (total - taken)) + (rest - taken)
                part[:] = total

    @staticmethod
    def total(sums: Iterable[np.ndarray]) -> np.ndarray:
        """The rounded sum of the ``parts`` of several sums."""
        parts = np.concatenate(list(sums))
        return np.array(
            [
                math.fsum(column) if np.isfinite(column).all() else np.nan
                for column in parts.T
            ]
        )
