"""Renderer of procedural indoor scenes with people."""

from .builder import Scene, scene_of
from .renderer import render

__all__ = [
    'Scene',
    'render',
    'scene_of',
]
