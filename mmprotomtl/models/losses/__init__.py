"""Losses that are no single task's."""

from .akg_loss import AKGLoss
from .label_reduction import REDUCTIONS, reduce_over_labels

__all__ = ['REDUCTIONS', 'AKGLoss', 'reduce_over_labels']
