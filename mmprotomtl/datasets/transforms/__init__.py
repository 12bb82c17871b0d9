"""Transforms that ask the tasks."""

from .formatting import PackMultiTaskInputs
from .loading import LoadMultiTaskAnnotations, LoadMultiTaskImage
from .partial_annotation import PartialAnnotation
from .processing import (
    MultiTaskRandomFlip,
    MultiTaskRandomScaleCrop,
    MultiTaskResize,
)

__all__ = [
    'LoadMultiTaskAnnotations',
    'LoadMultiTaskImage',
    'MultiTaskRandomFlip',
    'MultiTaskRandomScaleCrop',
    'MultiTaskResize',
    'PackMultiTaskInputs',
    'PartialAnnotation',
]
