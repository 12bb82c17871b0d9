"""Head with the knowledge-retrieval transformer (arXiv 2601.07474)."""

from mmengine.model import ModuleList
from torch import Tensor, nn
from torch.nn import functional as F

from mmprotomtl.models.layers import (
    POSITION_ENCODINGS,
    ConvPositionEncoding,
    RetrievalBlock,
    take_pairs,
)
from mmprotomtl.models.necks import TaskFeatures
from mmprotomtl.registry import MODELS
from mmprotomtl.tasks import Task
from mmprotomtl.utils.errors import check_choice

from .multitask_head import MultiTaskHead


@MODELS.register_module()
class RetrievalTransformerHead(MultiTaskHead):
    """Refine the features of each task by a transformer, then predict.

    The transformer has N blocks of self-attention(f_t), cross-attention
    (Q = f_t, K = V = f_ta) and FFN, shared by all tasks (arXiv 2601.07474).
    Tokens may be coarser than the features. Then the change that the blocks
    make is upsampled and added to the features, f_tr = f_t +
    upsample(blocks(tokens) - tokens). At a token stride of 1 this equals
    blocks(f_t). Tokens attend to tokens of the same task only, so the cost is
    linear in the number of tasks.

    Args:
        tasks: Name -> task.
        in_channels: Channels of the task features and of the blocks.
        memory_channels: Channels of the neck's memory f_ta.
        num_blocks: Number of blocks, N. 0, a control experiment: no
            transformer, each task is predicted from f_t and nothing is
            retrieved.
        num_heads: Number of attention heads.
        ffn_ratio: Hidden channels of the FFN, relative to ``in_channels``.
        position_encoding: ``none``, as in the paper, or ``conv``: a
            :class:`~mmprotomtl.models.layers.ConvPositionEncoding` before each
            block.
        fused_attention: See :class:`~mmprotomtl.models.layers.Attention`.
        **kwargs: See :class:`MultiTaskHead`.

    Raises:
        ValueError: The neck has no memory, or a position encoding is set
            without a block that could use it.
    """

    def __init__(
        self,
        tasks: dict[str, Task],
        in_channels: int,
        memory_channels: int | None = None,
        num_blocks: int = 2,
        num_heads: int = 8,
        ffn_ratio: float = 2.0,
        position_encoding: str = 'none',
        fused_attention: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(tasks, in_channels, memory_channels, **kwargs)
        if memory_channels is None:
            raise ValueError(
                'RetrievalTransformerHead needs a neck with a memory to '
                'retrieve from: set neck.type="PrototypeNeck"'
            )
        check_choice(
            'head.position_encoding', position_encoding, POSITION_ENCODINGS
        )
        if position_encoding != 'none' and not num_blocks:
            raise ValueError(
                f'head.position_encoding={position_encoding!r} is not allowed '
                'with head.num_blocks=0: there is no block that would use it; '
                "set 'none'"
            )
        self.blocks = nn.ModuleList(
            RetrievalBlock(
                in_channels,
                memory_channels,
                num_heads,
                ffn_ratio,
                fused_attention,
            )
            for _ in range(num_blocks)
        )
        # One for each block, or none. Unlike torch's, this list lets its parts
        # initialise themselves.
        self.positions = ModuleList(
            ConvPositionEncoding(in_channels)
            for _ in self.blocks
            if position_encoding == 'conv'
        )

    @property
    def reads_memory(self) -> bool:
        """Whether predictions depend on the neck's memory."""
        return len(self.blocks) > 0

    def refine(
        self, features: TaskFeatures, pairs: list[list[int]]
    ) -> list[Tensor]:
        """Return f_tr of some (image, task) pairs.

        The blocks run once, on the pairs of all tasks together.

        Args:
            features: Output of the neck.
            pairs: For each task, the indices of the images to use.

        Returns:
            For each task, ``n_t x C x h x w``.
        """
        if not self.blocks:
            return super().refine(features, pairs)
        retrieval = features.retrieval
        assert retrieval is not None
        own = take_pairs(features.features, pairs)
        x = tokens = take_pairs(retrieval.tokens, pairs)
        memory = retrieval.memory(pairs)
        for number, block in enumerate(self.blocks):
            if self.positions:
                x = self.positions[number](x, retrieval.grid)
            x = block(x, memory)
        added = (x - tokens).transpose(1, 2).unflatten(2, retrieval.grid)
        if len(added) and added.shape != own.shape:
            added = F.interpolate(added, own.shape[-2:], mode='bilinear')
        elif not len(added):
            # Without any pair there is nothing to upsample; the sum keeps
            # gradients (of zeros) for all parameters.
            added = added.sum()
        return list((own + added).split([len(rows) for rows in pairs]))
