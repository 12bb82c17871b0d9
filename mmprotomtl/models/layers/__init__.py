"""Layers of the method."""

from .memories import (
    CodeMemory,
    CrossTaskMemory,
    KeyValueMemory,
    PrototypeMemory,
    Retrieval,
    TokenMemory,
    by_task,
)
from .pairs import take, take_pairs
from .position_encoding import POSITION_ENCODINGS, ConvPositionEncoding
from .reconstruction import Reconstruction
from .retrieval_block import Attention, RetrievalBlock
from .temperature import Temperature
from .vector_quantizer import Quantized, VectorQuantizer, build_codebook

__all__ = [
    'POSITION_ENCODINGS',
    'Attention',
    'CodeMemory',
    'ConvPositionEncoding',
    'CrossTaskMemory',
    'KeyValueMemory',
    'PrototypeMemory',
    'Quantized',
    'Reconstruction',
    'Retrieval',
    'RetrievalBlock',
    'Temperature',
    'TokenMemory',
    'VectorQuantizer',
    'build_codebook',
    'by_task',
    'take',
    'take_pairs',
]
