"""Measures, and the metric that pools them over a data set."""

from . import measures
from .delta import Reference, differing, mean_change, read_report
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
from .paired import Paired, paired
from .sums import ExactSum
from .tables import write_pairs
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
    'Paired',
    'Reference',
    'RegressionError',
    'Workers',
    'differing',
    'mean_change',
    'measures',
    'paired',
    'read_report',
    'write_pairs',
]
