"""What travels between pipeline, model and evaluator."""

from .multitask_data_sample import MultiTaskDataSample

__all__ = ['MultiTaskDataSample']
