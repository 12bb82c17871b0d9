"""Collective operations that also work in a single process.

Every rank has to call them, whatever data it has: a collective operation that
only some ranks enter blocks forever.
"""

from typing import Any

import torch
from mmengine.dist import all_gather, all_reduce, is_distributed
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce as differentiable_sum


def sum_over_ranks(tensor: Tensor, with_grad: bool = False) -> Tensor:
    """Sum a tensor over all ranks; every rank gets the result.

    Args:
        tensor: Tensor with the same shape on all ranks.
        with_grad: Whether gradients flow back to the tensors of all ranks.

    Returns:
        Tensor with the shape of the input.
    """
    if with_grad:
        return differentiable_sum(tensor) if is_distributed() else tensor
    total = tensor.detach().clone()
    all_reduce(total)
    return total


def gather_rows(tensor: Tensor) -> Tensor:
    """Concatenate the rows of all ranks, in the order of ranks, detached.

    Args:
        tensor: ``N x ...``, the same shape on all ranks.

    Returns:
        ``(ranks * N) x ...``.
    """
    return torch.cat(all_gather(tensor.detach().contiguous()))


def unwrap(model: nn.Module) -> Any:
    """Return the model without the wrapper of distributed training."""
    return model.module if is_model_wrapper(model) else model
