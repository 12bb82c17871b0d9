"""Collectives that do nothing in a single process, and the like.

All are entered by every rank at every call, whatever it holds: a collective
that only some ranks enter hangs the others.
"""

from typing import Any

import torch
from mmengine.dist import get_world_size, is_distributed
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.nn.functional import all_reduce as differentiable_sum


def sum_over_ranks(tensor: Tensor, with_grad: bool = False) -> Tensor:
    """The sum of each rank's tensor, the same on all.

    Args:
        tensor: Of one shape on all ranks.
        with_grad: Whether gradients flow back to every rank's tensor.
    """
    if not is_distributed():
        return tensor
    if with_grad:
        summed: Tensor = differentiable_sum(tensor)
        return summed
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total


def gather_rows(tensor: Tensor) -> Tensor:
    """The rows of each rank's tensor, one rank after the other, no gradient.

    Args:
        tensor: Of one shape on all ranks.
    """
    if not is_distributed():
        return tensor.detach()
    parts = [torch.empty_like(tensor) for _ in range(get_world_size())]
    dist.all_gather(parts, tensor.detach().contiguous())
    return torch.cat(parts)


def unwrap(model: nn.Module) -> Any:
    """The model without the wrapper of distributed training."""
    return model.module if is_model_wrapper(model) else model
