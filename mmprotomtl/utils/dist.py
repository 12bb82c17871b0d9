"""Collectives that do nothing in a single process.

Every process has to enter a collective at every call, whatever data it has: a
collective that only some enter makes the others wait for ever.
"""

from typing import Any

import torch
from mmengine.dist import all_gather, all_reduce, is_distributed
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce as differentiable_sum


def sum_over_ranks(tensor: Tensor, with_grad: bool = False) -> Tensor:
    """The sum of each process's tensor, the same in all processes.

    Args:
        tensor: Of the same shape in all processes.
        with_grad: Whether gradients flow back to every process's tensor.
    """
    if with_grad:
        return differentiable_sum(tensor) if is_distributed() else tensor
    total = tensor.detach().clone()
    all_reduce(total)
    return total


def gather_rows(tensor: Tensor) -> Tensor:
    """The rows of each process's tensor in the order of their ranks, without
    gradient.

    Args:
        tensor: Of the same shape in all processes.
    """
    return torch.cat(all_gather(tensor.detach().contiguous()))


def unwrap(model: nn.Module) -> Any:
    """The model without the wrapper of distributed training."""
    return model.module if is_model_wrapper(model) else model
