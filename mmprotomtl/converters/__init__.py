"""Convert the official files of a data set to the layout used in training."""

from .cityscapes import convert_cityscapes
from .nyuv2 import convert_nyuv2

__all__ = ['convert_cityscapes', 'convert_nyuv2']
