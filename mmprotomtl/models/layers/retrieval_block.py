"""Transformer block: attention over a task's tokens and over its memory."""

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention.

    Args:
        dims: Channels of queries and output.
        memory_dims: Channels of keys and values.
        num_heads: Number of heads; must divide ``dims``.
        fused: Whether to use torch's fused kernel, which does not store the
            matrix queries x keys. False: explicit matrix products, which FLOP
            counters and exporters support. Both compute the same function.

    Raises:
        ValueError: ``num_heads`` does not divide ``dims``.
    """

    def __init__(
        self, dims: int, memory_dims: int, num_heads: int, fused: bool = True
    ) -> None:
        super().__init__()
        if dims % num_heads:
            raise ValueError(
                f'num_heads={num_heads} is not allowed: it has to divide the '
                f'number of channels, {dims}'
            )
        self.num_heads = num_heads
        self.fused = fused
        self.query = nn.Linear(dims, dims)
        self.key_value = nn.Linear(memory_dims, 2 * dims)
        self.out = nn.Linear(dims, dims)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Attend.

        Args:
            x: Queries, ``N x L x dims``.
            memory: Keys and values, ``N x M x memory_dims``.

        Returns:
            ``N x L x dims``.
        """
        query = self._split(self.query(x))
        key, value = map(self._split, self.key_value(memory).chunk(2, -1))
        if self.fused:
            read = F.scaled_dot_product_attention(query, key, value)
        else:
            scale = query.shape[-1] ** -0.5
            weight = (query * scale) @ key.transpose(-2, -1)
            read = weight.softmax(-1) @ value
        return self.out(read.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """``N x L x C`` to ``N x heads x L x C / heads``."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class RetrievalBlock(BaseModule):
    """Block of the knowledge-retrieval transformer (arXiv 2601.07474).

    It is self-attention(f_t) -> cross-attention(Q = f_t, K = V = f_ta) -> FFN,
    each with a residual connection. Layer normalisation comes before each of
    them; the paper does not specify its position.

    Args:
        dims: Channels of the tokens f_t.
        memory_dims: Channels of the memory f_ta.
        num_heads: Number of heads of both attentions.
        ffn_ratio: Hidden channels of the FFN, relative to ``dims``.
        fused: See :class:`Attention`.
    """

    def __init__(
        self,
        dims: int,
        memory_dims: int,
        num_heads: int = 8,
        ffn_ratio: float = 2.0,
        fused: bool = True,
    ) -> None:
        super().__init__()
        hidden = int(dims * ffn_ratio)
        self.norm_self = nn.LayerNorm(dims)
        self.self_attention = Attention(dims, dims, num_heads, fused)
        self.norm_cross = nn.LayerNorm(dims)
        self.norm_memory = nn.LayerNorm(memory_dims)
        self.cross_attention = Attention(dims, memory_dims, num_heads, fused)
        self.norm_ffn = nn.LayerNorm(dims)
        self.ffn = nn.Sequential(
            nn.Linear(dims, hidden), nn.GELU(), nn.Linear(hidden, dims)
        )

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Apply the block.

        Args:
            x: Tokens f_t, ``N x L x dims``.
            memory: Memory f_ta, ``N x M x memory_dims``.

        Returns:
            ``N x L x dims``.
        """
        own = self.norm_self(x)
        x = x + self.self_attention(own, own)
        memory = self.norm_memory(memory)
        x = x + self.cross_attention(self.norm_cross(x), memory)
        return x + self.ffn(self.norm_ffn(x))
