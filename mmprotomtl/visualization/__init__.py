"""Pictures of what the network sees and says."""

from .multitask_visualizer import (
    MultiTaskLocalVisualizer,
    check_display,
    write_picture,
)

__all__ = ['MultiTaskLocalVisualizer', 'check_display', 'write_picture']
