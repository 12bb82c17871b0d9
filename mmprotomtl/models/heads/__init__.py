"""Heads: predictions and losses from task features."""

from .multitask_head import MultiTaskHead
from .retrieval_head import RetrievalTransformerHead

__all__ = ['MultiTaskHead', 'RetrievalTransformerHead']
