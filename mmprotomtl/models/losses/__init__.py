"""Losses that do not belong to a single task."""

from .akg_loss import AKGLoss
from .label_reduction import REDUCTIONS, reduce_over_labels

__all__ = ['REDUCTIONS', 'AKGLoss', 'reduce_over_labels']
