"""Renderer of procedural indoor scenes with people."""
