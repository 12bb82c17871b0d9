"""Data sets (one file each) and the transforms of their pipelines."""

from .cityscapes import CityscapesMTDataset
from .concat import MultiTaskConcatDataset
from .image_folder import ImageFolderMTDataset
from .multitask_dataset import MultiTaskDataset
from .nyudv2 import NYUDv2Dataset
from .nyuv2 import NYUv2Dataset
from .pascal_context import PASCALContextMTDataset
from .samplers import SeededSampler
from .synthetic_scenes import SyntheticScenesDataset

__all__ = [
    'CityscapesMTDataset',
    'ImageFolderMTDataset',
    'MultiTaskConcatDataset',
    'MultiTaskDataset',
    'NYUDv2Dataset',
    'NYUv2Dataset',
    'PASCALContextMTDataset',
    'SeededSampler',
    'SyntheticScenesDataset',
]
