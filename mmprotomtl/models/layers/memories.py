"""Memories f_ta, which the cross-attention of the transformer reads.

The memory of the paper (arXiv 2601.07474) is A · V, the prototypes weighted by
the affinities of a token. If the affinities become equal at all positions,
which they tend to do, this memory is one constant vector per task. The other
memories here are baselines to compare it with.

All memories compute their output for selected (image, task) pairs only.
"""

from typing import NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmprotomtl.registry import MODELS

from .pairs import take_pairs


class Retrieval(NamedTuple):
    """Inputs of a memory.

    Attributes:
        affinity: Affinities A, ``T x N x L x S`` (task, image, token,
            prototype).
        prototypes: Prototypes V, ``S x d``.
        tokens: Tokens f_t of each task, ``N x L x C``.
        codes: Tokens of the codes f_q, ``N x L x C``; None: there is no
            codebook.
        grid: Height and width of the token map; L is their product.
        prototypes_per_task: Number of prototypes of each task.
    """

    affinity: Tensor
    prototypes: Tensor
    tokens: list[Tensor]
    codes: Tensor | None
    grid: tuple[int, int]
    prototypes_per_task: int = 1


def by_task(affinity: Tensor, tasks: int, per_task: int) -> Tensor:
    """Sum affinities over the prototypes of each task.

    Args:
        affinity: ``... x S``. The first ``per_task`` prototypes belong to the
            first task, the next to the second, and so on; those after the
            last task's belong to none.
        tasks: Number of tasks, T.
        per_task: Number of prototypes of a task.

    Returns:
        ``... x T``.
    """
    owned = affinity[..., : tasks * per_task]
    return owned.unflatten(-1, (tasks, per_task)).sum(-1)


@MODELS.register_module()
class PrototypeMemory(BaseModule):
    """The memory of the paper, f_ta = A · V (arXiv 2601.07474); d channels.

    Args:
        num_tasks: Number of tasks, T.
        channels: Channels of the tokens, C.
        prototype_dim: Channels of a prototype, d.
        uniform: Control experiment: use equal affinities, so that the memory
            is the mean prototype everywhere.
    """

    def __init__(
        self,
        num_tasks: int,
        channels: int,
        prototype_dim: int,
        uniform: bool = False,
    ) -> None:
        super().__init__()
        self.out_channels = prototype_dim
        self.uniform = uniform

    def forward(self, source: Retrieval, pairs: list[list[int]]) -> Tensor:
        """Compute the memory of P (image, task) pairs, ``P x L x d``.

        Args:
            source: Inputs of the memory.
            pairs: For each task, the indices of the images to use.
        """
        affinity = take_pairs(source.affinity, pairs)
        if self.uniform:
            affinity = torch.full_like(affinity, 1 / affinity.shape[-1])
        return affinity @ source.prototypes.to(affinity.dtype)


@MODELS.register_module()
class TokenMemory(BaseModule):
    """Baseline: one learned token per task at all positions; d channels.

    It shows what prototypes add beyond a transformer that is told the task.

    Args:
        num_tasks: Number of tasks, T.
        channels: Channels of the tokens, C.
        prototype_dim: Channels of the memory, d.
    """

    def __init__(
        self, num_tasks: int, channels: int, prototype_dim: int
    ) -> None:
        super().__init__()
        self.out_channels = prototype_dim
        self.token = nn.Parameter(torch.randn(num_tasks, prototype_dim))

    def forward(self, source: Retrieval, pairs: list[list[int]]) -> Tensor:
        """Compute the memory of P (image, task) pairs, ``P x L x d``."""
        tasks, images, length, _ = source.affinity.shape
        token = self.token.to(source.affinity.dtype)[:, None, None]
        return take_pairs(token.expand(tasks, images, length, -1), pairs)


@MODELS.register_module()
class CrossTaskMemory(BaseModule):
    """Baseline: features of the other tasks, weighted by A; C channels.

    Features are those at the same position. Unlike A · V, this memory passes
    image content from other tasks.

    Args:
        num_tasks: Number of tasks, T.
        channels: Channels of the tokens, C.
        prototype_dim: Channels of a prototype, d; not used.

    Raises:
        ValueError: There is a single task only.
    """

    def __init__(
        self, num_tasks: int, channels: int, prototype_dim: int
    ) -> None:
        super().__init__()
        if num_tasks < 2:
            raise ValueError(
                'CrossTaskMemory reads the features of other tasks and is '
                'not allowed with a single task'
            )
        self.out_channels = channels

    def forward(self, source: Retrieval, pairs: list[list[int]]) -> Tensor:
        """Compute the memory of P (image, task) pairs, ``P x L x C``."""
        tasks = len(source.tokens)
        weight = by_task(source.affinity, tasks, source.prototypes_per_task)
        own = torch.eye(tasks, dtype=torch.bool, device=weight.device)
        weight = weight.masked_fill(own[:, None, None], 0)
        weight = weight / weight.sum(-1, keepdim=True).clamp(min=1e-6)
        # Tokens of all tasks, for the images in `pairs`.
        others = torch.stack(source.tokens).expand(tasks, -1, -1, -1, -1)
        return torch.einsum(
            'pls,pslc->plc',
            take_pairs(weight, pairs),
            take_pairs(others.transpose(1, 2), pairs),
        )


@MODELS.register_module()
class KeyValueMemory(BaseModule):
    """Prototypes as keys, features of the other tasks as values; C channels.

    The value of prototype k for task t is the mean of the other tasks' tokens,
    over tasks s and places q, weighted by their affinity to the prototype:
    ``u_k = sum A_s(q)[k] f_s(q) / sum A_s(q)[k]``, s != t. A token reads
    ``f_ta = sum_k A_t[k] u_k``. So content of other tasks reaches a token from
    places that associate with the same prototypes, also if the affinities of a
    task are the same everywhere.

    Args:
        num_tasks: Number of tasks, T.
        channels: Channels of the tokens, C.
        prototype_dim: Channels of a prototype, d; not used.
        window: Side, in tokens, of the square around a token from which values
            come, an odd number; None: they come from the whole image.

    Raises:
        ValueError: There is a single task only, or the window is not odd.
    """

    def __init__(
        self,
        num_tasks: int,
        channels: int,
        prototype_dim: int,
        window: int | None = None,
    ) -> None:
        super().__init__()
        if num_tasks < 2:
            raise ValueError(
                'KeyValueMemory reads the features of other tasks and is '
                'not allowed with a single task'
            )
        if window is not None and (window < 1 or window % 2 == 0):
            raise ValueError(
                f'memory.window={window} is not allowed: it must be an odd '
                'number of tokens, or None for the whole image'
            )
        self.out_channels = channels
        self.window = window

    def forward(self, source: Retrieval, pairs: list[list[int]]) -> Tensor:
        """Compute the memory of P (image, task) pairs, ``P x L x C``."""
        tokens = torch.stack(source.tokens)
        tasks = len(tokens)
        others = 1 - torch.eye(tasks, dtype=tokens.dtype, device=tokens.device)
        memory = tokens.new_zeros(())
        for affinity in source.affinity.split(1, dim=-1):
            near = [
                torch.einsum('ts,snlc->tnlc', others, self._pool(x, source))
                for x in (affinity * tokens, affinity)
            ]
            # At a low temperature no token may associate with a prototype.
            value = near[0] / near[1].clamp(min=1e-6)
            value = value.expand_as(tokens)
            memory = memory + (
                take_pairs(affinity, pairs) * take_pairs(value, pairs)
            )
        return memory

    def _pool(self, x: Tensor, source: Retrieval) -> Tensor:
        """Average ``T x N x L x C`` over windows; 1 for L: over all places.

        Beyond the border there are zeros, which weigh nothing.
        """
        if self.window is None:
            return x.mean(2, keepdim=True)
        maps = x.flatten(0, 1).transpose(1, 2).unflatten(2, source.grid)
        maps = F.avg_pool2d(maps, self.window, 1, self.window // 2)
        return maps.flatten(2).transpose(1, 2).unflatten(0, x.shape[:2])


@MODELS.register_module()
class CodeMemory(BaseModule):
    """Baseline: the codes f_q of the shared representation; C channels.

    Args:
        num_tasks: Number of tasks, T.
        channels: Channels of the tokens, C.
        prototype_dim: Channels of a prototype, d; not used.
    """

    def __init__(
        self, num_tasks: int, channels: int, prototype_dim: int
    ) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, source: Retrieval, pairs: list[list[int]]) -> Tensor:
        """Compute the memory of P (image, task) pairs, ``P x L x C``."""
        assert source.codes is not None
        return take_pairs([source.codes] * len(pairs), pairs)
