"""Reduce the losses of labelled (image, task) pairs to one loss per task."""

import torch
from mmengine.dist import get_world_size
from torch import Tensor

from mmprotomtl.utils.dist import sum_over_ranks
from mmprotomtl.utils.errors import check_choice

REDUCTIONS = ('batch', 'balanced', 'per-task')


def reduce_over_labels(
    losses: Tensor, labelled: Tensor, reduction: str
) -> Tensor:
    """Reduce the losses of a partially labelled batch.

    Let l_it be the loss of image i and task t, N the number of images, N' the
    number of images with at least one label, T the number of tasks and T_i the
    number of tasks for which image i is labelled:

    * ``batch``: L_t = sum_i l_it / N (MTPSL, JTR).
    * ``balanced``: L_t = sum_i (T / T_i) l_it / N'; all labelled images have
      equal weight (DiffusionMTL, where N' = N).
    * ``per-task``: L_t = sum_i l_it / (number of images labelled for t)
      (mmpretrain).

    Counts are summed over all ranks. The result is scaled such that its mean
    over ranks is the loss of the whole batch, because DDP averages gradients
    over ranks.

    Args:
        losses: l, ``N x T``, 0 where there is no label.
        labelled: Whether there is a label, bool ``N x T``.
        reduction: One of :data:`REDUCTIONS`.

    Returns:
        L, shape ``T``.

    Raises:
        ValueError: ``reduction`` is unknown.
    """
    check_choice('reduction', reduction, REDUCTIONS)
    images, tasks = losses.shape
    labelled = labelled.to(losses.dtype)
    per_image = labelled.sum(1)
    counts = torch.cat(
        [
            labelled.sum(0),
            (per_image > 0).sum().to(losses.dtype)[None],
            losses.new_full((1,), images),
        ]
    )
    counts = sum_over_ranks(counts).clamp(min=1)
    if reduction == 'batch':
        total = losses.sum(0) / counts[-1]
    elif reduction == 'balanced':
        scale = tasks / per_image.clamp(min=1)
        total = (scale[:, None] * losses).sum(0) / counts[-2]
    else:
        total = losses.sum(0) / counts[:-2]
    return total * get_world_size()
