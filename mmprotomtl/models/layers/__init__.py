"""Layers of the method."""

from .memories import (
    CodeMemory,
    CrossTaskMemory,
    KeyValueMemory,
    PrototypeMemory,
    Retrieval,
    TokenMemory,
)
from .pairs import take, take_pairs
from .position_encoding import POSITION_ENCODINGS, ConvPositionEncoding
from .retrieval_block import Attention, RetrievalBlock
from .vector_quantizer import Quantized, VectorQuantizer

__all__ = [
    'POSITION_ENCODINGS',
    'Attention',
    'CodeMemory',
    'ConvPositionEncoding',
    'CrossTaskMemory',
    'KeyValueMemory',
    'PrototypeMemory',
    'Quantized',
    'Retrieval',
    'RetrievalBlock',
    'TokenMemory',
    'VectorQuantizer',
    'take',
    'take_pairs',
]
