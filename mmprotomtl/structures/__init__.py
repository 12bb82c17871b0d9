"""What travels between pipeline, model and evaluator."""

from .multitask_data_sample import MultiTaskDataSample, content_box

__all__ = ['MultiTaskDataSample', 'content_box']
