"""Data sets, a file each, and what their samples go through."""

from .multitask_dataset import MultiTaskDataset
from .nyuv2 import NYUv2Dataset
from .synthetic_scenes import SyntheticScenesDataset

__all__ = [
    'MultiTaskDataset',
    'NYUv2Dataset',
    'SyntheticScenesDataset',
]
