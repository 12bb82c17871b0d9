"""Procedural scenes: solids, materials, people, rooms, a camera."""

from .builder import Scene, scene_of
from .renderer import render

__all__ = [
    'Scene',
    'render',
    'scene_of',
]
