"""Pipeline transforms that treat the image and all labels consistently."""

from .allowed import check_pipeline
from .cut_mix import MultiTaskCutMix
from .formatting import PackMultiTaskInputs
from .loading import LoadMultiTaskAnnotations, LoadMultiTaskImage, load_image
from .partial_annotation import PartialAnnotation, is_step
from .processing import (
    MultiTaskRandomFlip,
    MultiTaskRandomScaleCrop,
    MultiTaskResize,
)
from .recipe import (
    MultiTaskPad,
    MultiTaskRandomCrop,
    MultiTaskRandomRotate,
    MultiTaskRandomScale,
)

__all__ = [
    'LoadMultiTaskAnnotations',
    'LoadMultiTaskImage',
    'MultiTaskCutMix',
    'MultiTaskPad',
    'MultiTaskRandomCrop',
    'MultiTaskRandomFlip',
    'MultiTaskRandomRotate',
    'MultiTaskRandomScale',
    'MultiTaskRandomScaleCrop',
    'MultiTaskResize',
    'PackMultiTaskInputs',
    'PartialAnnotation',
    'check_pipeline',
    'is_step',
    'load_image',
]
