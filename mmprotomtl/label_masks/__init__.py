"""Label masks: which image has labels of which task.

Published mask files are read; protocols draw new masks.
"""

from .files import read_label_mask, read_mask_file, write_label_mask
from .mask import LabelMask
from .partial_labels import PartialLabels
from .protocols import PROTOCOLS, draw_label_mask

__all__ = [
    'PROTOCOLS',
    'LabelMask',
    'PartialLabels',
    'draw_label_mask',
    'read_label_mask',
    'read_mask_file',
    'write_label_mask',
]
