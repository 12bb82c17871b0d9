"""Pictures of what the network sees and says."""

from .multitask_visualizer import MultiTaskLocalVisualizer, write_picture

__all__ = ['MultiTaskLocalVisualizer', 'write_picture']
