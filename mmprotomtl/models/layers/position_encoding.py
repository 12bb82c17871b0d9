"""Position encoding of tokens."""

from mmengine.model import BaseModule
from torch import Tensor, nn

#: Allowed values of ``position_encoding``.
POSITION_ENCODINGS = ('none', 'conv')


class ConvPositionEncoding(BaseModule):
    """Conditional position encoding: x + depthwise 3 x 3 convolution of x.

    The zeros beyond the border tell a token where it is (Chu et al.,
    Conditional Positional Encodings for Vision Transformers, ICLR 2023). The
    convolution starts at zero, so that a network starts as the one without
    position encoding.

    Args:
        dims: Channels of the tokens, C.
    """

    def __init__(self, dims: int) -> None:
        super().__init__(
            dict(type='Constant', layer='Conv2d', val=0.0, bias=0.0)
        )
        self.conv = nn.Conv2d(dims, dims, 3, padding=1, groups=dims)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Add the encoding to tokens.

        Args:
            x: Tokens, ``N x L x C``.
            grid: Height and width of the token map; L is their product.

        Returns:
            ``N x L x C``.
        """
        positions = x.transpose(1, 2).unflatten(2, grid)
        return x + self.conv(positions).flatten(2).transpose(1, 2)
