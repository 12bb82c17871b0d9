"""Necks: task features from backbone features."""

from .multitask_neck import MultiTaskNeck, TaskFeatures
from .prototype_neck import PrototypeNeck

__all__ = ['MultiTaskNeck', 'PrototypeNeck', 'TaskFeatures']
