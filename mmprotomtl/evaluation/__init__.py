"""Measures, and the metric that pools them over a data set."""

from . import measures
from .multitask_metric import MultiTaskMetric

__all__ = ['MultiTaskMetric', 'measures']
