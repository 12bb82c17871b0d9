"""Pictures of what the network sees and says."""

from .multitask_visualizer import MultiTaskLocalVisualizer

__all__ = ['MultiTaskLocalVisualizer']
