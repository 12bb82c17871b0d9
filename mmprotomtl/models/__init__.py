"""The multi-task network and its modules."""

from .backbones import EfficientNetLite0
from .checkpoint_fit import (
    check_meaning,
    check_weights,
    differences,
    trained_tasks,
    weights_of,
)
from .consistency import FeatureConsistency
from .data_preprocessor import MultiTaskDataPreprocessor
from .feature_cache import FeatureCache, check_frozen
from .heads import MultiTaskHead, RetrievalTransformerHead
from .layers import (
    Attention,
    CodeMemory,
    CrossTaskMemory,
    KeyValueMemory,
    PrototypeMemory,
    Quantized,
    Retrieval,
    RetrievalBlock,
    TokenMemory,
    VectorQuantizer,
)
from .losses import REDUCTIONS, AKGLoss, reduce_over_labels
from .necks import MultiTaskNeck, PrototypeNeck, TaskFeatures
from .pretrained import check_pretrained
from .segmentors import TTA, MultiTaskSegmentor

__all__ = [
    'REDUCTIONS',
    'TTA',
    'AKGLoss',
    'Attention',
    'CodeMemory',
    'CrossTaskMemory',
    'EfficientNetLite0',
    'FeatureCache',
    'FeatureConsistency',
    'KeyValueMemory',
    'MultiTaskDataPreprocessor',
    'MultiTaskHead',
    'MultiTaskNeck',
    'MultiTaskSegmentor',
    'PrototypeMemory',
    'PrototypeNeck',
    'Quantized',
    'Retrieval',
    'RetrievalBlock',
    'RetrievalTransformerHead',
    'TaskFeatures',
    'TokenMemory',
    'VectorQuantizer',
    'check_frozen',
    'check_meaning',
    'check_pretrained',
    'check_weights',
    'differences',
    'reduce_over_labels',
    'trained_tasks',
    'weights_of',
]
