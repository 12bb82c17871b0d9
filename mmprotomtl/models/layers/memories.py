"""What the cross-attention of the retrieval transformer reads: f_ta.

The paper reads A · V, prototypes weighted by a position's affinities to them.
Once the affinities are the same everywhere, as they tend to become, that is
one constant vector a task; the other memories are there to compare it with.

Each reads for some (image, task) pairs, those that the transformer runs on.
"""

from typing import NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmprotomtl.registry import MODELS

from .pairs import take_pairs


class Retrieval(NamedTuple):
    """What a memory can read.

    Attributes:
        affinity: A, ``T x N x L x S`` (task, image, token, prototype).
        prototypes: V, ``S x d``.
        tokens: f_t of each task, ``N x L x C``.
        codes: f_q, ``N x L x C``.
    """

    affinity: Tensor
    prototypes: Tensor
    tokens: list[Tensor]
    codes: Tensor


@MODELS.register_module()
class PrototypeMemory(BaseModule):
    """A · V, the paper's: ``d`` wide.

    Args:
        num_tasks: T.
        channels: C.
        prototype_dim: d.
        uniform: Control experiment: read the mean prototype everywhere, as
            if all affinities were the same.
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
        """``P x L x d``."""
        affinity = take_pairs(source.affinity, pairs)
        if self.uniform:
            affinity = torch.full_like(affinity, 1 / affinity.shape[-1])
        return affinity @ source.prototypes.to(affinity.dtype)


@MODELS.register_module()
class TokenMemory(BaseModule):
    """A learned token for each task, the same everywhere: ``d`` wide.

    The control for what prototypes add to a transformer that knows its task.
    """

    def __init__(
        self, num_tasks: int, channels: int, prototype_dim: int
    ) -> None:
        super().__init__()
        self.out_channels = prototype_dim
        self.token = nn.Parameter(torch.randn(num_tasks, prototype_dim))

    def forward(self, source: Retrieval, pairs: list[list[int]]) -> Tensor:
        """``P x L x d``."""
        tasks, images, length, _ = source.affinity.shape
        token = self.token.to(source.affinity.dtype)[:, None, None]
        return take_pairs(token.expand(tasks, images, length, -1), pairs)


@MODELS.register_module()
class CrossTaskMemory(BaseModule):
    """The other tasks' features at the same position, weighted by A: ``C``
    wide. Content of other tasks can pass, unlike through A · V.
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
        """``P x L x C``."""
        tasks = len(source.tokens)
        weight = source.affinity[..., :tasks]
        own = torch.eye(tasks, dtype=torch.bool, device=weight.device)
        weight = weight.masked_fill(own[:, None, None], 0)
        weight = weight / weight.sum(-1, keepdim=True).clamp(min=1e-6)
        # Tokens of all tasks of the images asked for.
        others = torch.stack(source.tokens).expand(tasks, -1, -1, -1, -1)
        return torch.einsum(
            'pls,pslc->plc',
            take_pairs(weight, pairs),
            take_pairs(others.transpose(1, 2), pairs),
        )


@MODELS.register_module()
class CodeMemory(BaseModule):
    """The codes f_q of the shared representation: ``C`` wide."""

    def __init__(
        self, num_tasks: int, channels: int, prototype_dim: int
    ) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, source: Retrieval, pairs: list[list[int]]) -> Tensor:
        """``P x L x C``."""
        return take_pairs([source.codes] * len(pairs), pairs)
