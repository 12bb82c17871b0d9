"""Reconstruction of the image from features."""

from mmcv.cnn import ConvModule
from torch import nn


class Reconstruction(nn.Sequential):
    """Reconstruct the image from the shared features by pixel shuffle.

    Args:
        channels: Channels of the shared features.
        stride: Stride of the shared features.
        hidden: Channels of the hidden layer.
    """

    def __init__(self, channels: int, stride: int, hidden: int) -> None:
        super().__init__(
            ConvModule(channels, hidden, 3, padding=1),
            nn.Conv2d(hidden, 3 * stride**2, 3, padding=1),
            nn.PixelShuffle(stride),
        )
