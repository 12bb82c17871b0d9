"""From task features to predictions and losses."""

from .multitask_head import MultiTaskHead
from .retrieval_head import RetrievalTransformerHead

__all__ = ['MultiTaskHead', 'RetrievalTransformerHead']
