"""Data sets (one file each) and the transforms of their pipelines."""

from .check import check_config, check_dataset, format_report
from .cityscapes import CityscapesMTDataset
from .concat import MultiTaskConcatDataset
from .image_folder import ImageFolderMTDataset
from .labels_used import label_facts
from .mtan_dataset import MTANDataset
from .multitask_dataset import MultiTaskDataset
from .nyudv2 import NYUDv2Dataset
from .nyuv2 import NYUv2Dataset
from .pascal_context import PASCALContextMTDataset
from .samplers import (
    SeededIndex,
    SeededInfiniteSampler,
    SeededSampler,
    sample_seed,
)
from .synthetic_scenes import SyntheticScenesDataset
from .transforms import (
    LoadMultiTaskAnnotations,
    LoadMultiTaskImage,
    MultiTaskCutMix,
    MultiTaskPad,
    MultiTaskRandomCrop,
    MultiTaskRandomFlip,
    MultiTaskRandomRotate,
    MultiTaskRandomScale,
    MultiTaskRandomScaleCrop,
    MultiTaskResize,
    PackMultiTaskInputs,
    PartialAnnotation,
    check_pipeline,
    is_step,
    load_image,
)
from .unwrap import leaf_datasets, wrapped_datasets
from .wrappers import ClassBalancedDataset, ConcatDataset, RepeatDataset

__all__ = [
    'CityscapesMTDataset',
    'ClassBalancedDataset',
    'ConcatDataset',
    'ImageFolderMTDataset',
    'LoadMultiTaskAnnotations',
    'LoadMultiTaskImage',
    'MTANDataset',
    'MultiTaskConcatDataset',
    'MultiTaskCutMix',
    'MultiTaskDataset',
    'MultiTaskPad',
    'MultiTaskRandomCrop',
    'MultiTaskRandomFlip',
    'MultiTaskRandomRotate',
    'MultiTaskRandomScale',
    'MultiTaskRandomScaleCrop',
    'MultiTaskResize',
    'NYUDv2Dataset',
    'NYUv2Dataset',
    'PASCALContextMTDataset',
    'PackMultiTaskInputs',
    'PartialAnnotation',
    'RepeatDataset',
    'SeededIndex',
    'SeededInfiniteSampler',
    'SeededSampler',
    'SyntheticScenesDataset',
    'check_config',
    'check_dataset',
    'check_pipeline',
    'format_report',
    'is_step',
    'label_facts',
    'leaf_datasets',
    'load_image',
    'sample_seed',
    'wrapped_datasets',
]
