"""Complete networks."""

from .inference import TTA
from .multitask_segmentor import MultiTaskSegmentor

__all__ = [
    'TTA',
    'MultiTaskSegmentor',
]
