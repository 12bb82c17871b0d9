"""The multi-task network and its modules."""

from .data_preprocessor import MultiTaskDataPreprocessor
from .heads import MultiTaskHead, RetrievalTransformerHead
from .layers import VectorQuantizer
from .losses import AKGLoss
from .necks import MultiTaskNeck, PrototypeNeck
from .segmentors import MultiTaskSegmentor

__all__ = [
    'AKGLoss',
    'MultiTaskDataPreprocessor',
    'MultiTaskHead',
    'MultiTaskNeck',
    'MultiTaskSegmentor',
    'PrototypeNeck',
    'RetrievalTransformerHead',
    'VectorQuantizer',
]
