"""Procedural scenes: solids, materials, people, rooms, a camera."""
