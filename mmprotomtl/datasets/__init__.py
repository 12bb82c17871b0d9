"""Data sets (one file each) and the transforms of their pipelines."""

from .cityscapes import CityscapesMTDataset
from .concat import MultiTaskConcatDataset
from .image_folder import ImageFolderMTDataset
from .multitask_dataset import MultiTaskDataset
from .nyudv2 import NYUDv2Dataset
from .nyuv2 import NYUv2Dataset
from .pascal_context import PASCALContextMTDataset
from .samplers import SeededInfiniteSampler, SeededSampler
from .synthetic_scenes import SyntheticScenesDataset
from .wrappers import ClassBalancedDataset, ConcatDataset, RepeatDataset

__all__ = [
    'CityscapesMTDataset',
    'ClassBalancedDataset',
    'ConcatDataset',
    'ImageFolderMTDataset',
    'MultiTaskConcatDataset',
    'MultiTaskDataset',
    'NYUDv2Dataset',
    'NYUv2Dataset',
    'PASCALContextMTDataset',
    'RepeatDataset',
    'SeededInfiniteSampler',
    'SeededSampler',
    'SyntheticScenesDataset',
]
