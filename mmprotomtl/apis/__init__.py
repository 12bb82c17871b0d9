"""What a user calls from Python."""

from .inferencer import MultiTaskInferencer
from .result import MultiTaskResult, TrainingData

__all__ = ['MultiTaskInferencer', 'MultiTaskResult', 'TrainingData']
