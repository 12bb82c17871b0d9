"""Backbones that the other packages of OpenMMLab do not have."""

from .efficientnet_lite import EfficientNetLite0

__all__ = ['EfficientNetLite0']
