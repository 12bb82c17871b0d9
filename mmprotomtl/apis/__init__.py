"""What a user calls from Python."""

from .inferencer import MultiTaskInferencer

__all__ = ['MultiTaskInferencer']
