"""Measures, and the metric that pools them over a data set."""

from . import measures
from .delta import Reference, differing, read_report
from .measures import (
    AngularError,
    BoundaryF,
    ClassOverlap,
    ForegroundF,
    ForegroundOverlap,
    Measure,
    RegressionError,
)
from .multitask_metric import MultiTaskMetric
from .sums import ExactSum
from .workers import Workers

__all__ = [
    'AngularError',
    'BoundaryF',
    'ClassOverlap',
    'ExactSum',
    'ForegroundF',
    'ForegroundOverlap',
    'Measure',
    'MultiTaskMetric',
    'Reference',
    'RegressionError',
    'Workers',
    'differing',
    'measures',
    'read_report',
]
