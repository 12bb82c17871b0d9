"""Which losses of a step go into the log."""

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmprotomtl.registry import HOOKS
from mmprotomtl.utils.dist import sum_over_ranks, unwrap


@HOOKS.register_module()
class LabelledLossHook(Hook):
    """Leaves out of the log the losses of tasks without a label in the step,
    and takes the mean over processes of the others.

    Such a loss is 0, which would read like a perfect fit and lower the means
    in the log. Without it, the log's means, over the last ``window_size``
    values (10, mmengine's ``LogProcessor``), are over steps in which some
    process had a label of the task. The losses that are learnt from are not
    touched: all processes have the same, as DDP requires.
    """

    # Before mmengine's RuntimeInfoHook (VERY_HIGH), which keeps the values for
    # the log.
    priority = 'HIGHEST'

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Change what the other hooks see of the step's losses."""
        model = unwrap(runner.model)
        if not outputs or not hasattr(model, 'losses_counted'):
            return
        counted = model.losses_counted()
        keys = list(outputs)
        own = torch.stack([outputs[key].detach().float() for key in keys])
        counts = torch.stack([_count(counted.get(key), own) for key in keys])
        # Of a loss that is no number, only the process that has it speaks: it
        # knows the images (NonFiniteLossHook).
        finite = own.isfinite()
        total = sum_over_ranks(torch.stack([own.where(finite, 0), counts]))
        means = (total[0] / get_world_size()).where(finite, own)
        missing = (total[1] == 0) & finite
        for key, mean, left_out in zip(
            keys, means, missing.tolist(), strict=True
        ):
            if left_out:
                del outputs[key]
            else:
                outputs[key] = mean


def _count(number: Tensor | None, like: Tensor) -> Tensor:
    """The number as a float on a device; 1 for a loss of all images."""
    return like.new_ones(()) if number is None else number.to(like)
