"""The knowledge-retrieval transformer."""

from torch import Tensor, nn
from torch.nn import functional as F

from mmprotomtl.models.layers import RetrievalBlock, take_pairs
from mmprotomtl.models.necks import TaskFeatures
from mmprotomtl.registry import MODELS
from mmprotomtl.tasks import Task

from .multitask_head import MultiTaskHead


@MODELS.register_module()
class RetrievalTransformerHead(MultiTaskHead):
    """Refines each task's tokens by what they retrieve, then predicts.

    N blocks of self-attention(f_t), cross-attention(Q = f_t, K = V = f_ta) and
    FFN, shared by all tasks (arXiv 2601.07474). Tokens may be coarser than the
    features: what the blocks add to them is upsampled and added to the
    features, f_tr = f_t + up(blocks(tokens) - tokens), which at a token stride
    of 1 is blocks(f_t) itself. The tokens of a task attend to their own task
    only, so the cost is linear in the number of tasks.

    Args:
        tasks: The tasks, by name.
        in_channels: Width of the task features and of the blocks.
        memory_channels: Width of the neck's memory.
        num_blocks: N.
        num_heads: Attention heads.
        ffn_ratio: Hidden width of the FFN / ``in_channels``.
        fused_attention: See :class:`~mmprotomtl.models.layers.Attention`.
        **kwargs: See :class:`MultiTaskHead`.

    Raises:
        ValueError: The neck has no memory.
    """

    def __init__(
        self,
        tasks: dict[str, Task],
        in_channels: int,
        memory_channels: int | None = None,
        num_blocks: int = 2,
        num_heads: int = 8,
        ffn_ratio: float = 2.0,
        fused_attention: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(tasks, in_channels, memory_channels, **kwargs)
        if memory_channels is None:
            raise ValueError(
                'RetrievalTransformerHead needs a neck with a memory to '
                'retrieve from: take neck.type="PrototypeNeck"'
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

    def refine(
        self, features: TaskFeatures, pairs: list[list[int]]
    ) -> list[Tensor]:
        """f_tr of some (image, task) pairs, for each task ``n_t x C x h x w``.

        The blocks run once, on the pairs of all tasks.
        """
        retrieval = features.retrieval
        assert retrieval is not None
        own = take_pairs(features.features, pairs)
        x = tokens = take_pairs(retrieval.tokens, pairs)
        memory = retrieval.memory(pairs)
        for block in self.blocks:
            x = block(x, memory)
        added = (x - tokens).transpose(1, 2).unflatten(2, retrieval.grid)
        if len(added) and added.shape != own.shape:
            added = F.interpolate(added, own.shape[-2:], mode='bilinear')
        elif not len(added):
            # No pair at all: nothing to upsample, but gradients (zeros) flow.
            added = added.sum()
        return list((own + added).split([len(rows) for rows in pairs]))
