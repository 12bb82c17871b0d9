"""Scores by what they measure; each task names its own."""

from .angular import AngularError
from .base import Measure
from .boundary import BoundaryF
from .foreground import ForegroundF, ForegroundOverlap
from .overlap import ClassOverlap
from .regression import RegressionError

__all__ = [
    'AngularError',
    'BoundaryF',
    'ClassOverlap',
    'ForegroundF',
    'ForegroundOverlap',
    'Measure',
    'RegressionError',
]
