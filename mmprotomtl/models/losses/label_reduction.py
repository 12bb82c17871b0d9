"""From the losses of the labelled (image, task) pairs to one loss a task."""

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

    With l_it the loss of image i and task t, N images of which N' have a label
    and T_i the number of tasks that image i has labels of:

    * ``batch``: L_t = sum_i l_it / N (MTPSL, JTR).
    * ``balanced``: L_t = sum_i (T / T_i) l_it / N': every image that has a
      label weighs the same (DiffusionMTL, where N' = N).
    * ``per-task``: L_t = sum_i l_it / (images with a label of t) (mmpretrain).

    Counts are those of all ranks, and the result is scaled so that the mean
    over ranks, which DDP takes of the gradients, is the loss of the whole.

    Args:
        losses: l, ``N x T``, 0 where there is no label.
        labelled: Where there is one, bool ``N x T``.
        reduction: One of :data:`REDUCTIONS`.

    Returns:
        L, ``T``.
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
