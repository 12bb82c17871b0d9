"""Losses and weights that are no numbers stop a run before they do harm."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmprotomtl.registry import HOOKS
from mmprotomtl.utils.dist import sum_over_ranks
from mmprotomtl.utils.errors import check_choice

from .checkpoints import last_good


class NonFiniteLossError(RuntimeError):
    """A loss, or a weight after the step, was NaN or infinite."""


def image_name(sample: Any) -> str:
    """What messages call the image of a data sample."""
    meta = sample.metainfo
    return str(meta.get('img_path') or meta.get('sample_id'))


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Looks at the losses of each step; names loss, step and images. Looks at
    the weights before each checkpoint.

    To stop the run it need not hurry: the answer to "is all finite?" is asked
    of the device one step later, when it is there, and before any checkpoint
    is written. To skip the step it has to know at once, which makes the
    device wait at every step.

    Args:
        action: ``stop`` the run, or ``skip`` the step: no gradient, no
            update; gradients accumulated so far are dropped too. What moves
            in the forward pass (running statistics, moving averages) has
            moved.
        patience: Steps skipped in a row before the run stops after all.

    Raises:
        NonFiniteLossError: From the hook's methods, as said.
    """

    # Before those that write checkpoints.
    priority = 'ABOVE_NORMAL'

    def __init__(self, action: str = 'stop', patience: int = 10) -> None:
        check_choice('NonFiniteLossHook.action', action, ('stop', 'skip'))
        self.action = action
        self.patience = patience
        self._images: list[str] = []
        self._pending: tuple[int, list[str], dict[str, Tensor]] | None = None
        self._skipped = 0

    def before_train(self, runner: Runner) -> None:
        """Stand between the loss and the update, if steps are skipped."""
        if self.action == 'stop':
            return
        update = runner.optim_wrapper.update_params

        def update_or_skip(loss: Tensor, *args: Any, **kwargs) -> None:
            # All ranks skip together: a gradient is theirs in common.
            if sum_over_ranks((~loss.isfinite()).float()).item() == 0:
                self._skipped = 0
                update(loss, *args, **kwargs)
                return
            self._skipped += 1
            text = f'the loss is not finite on {", ".join(self._images)}'
            if self._skipped > self.patience:
                raise NonFiniteLossError(
                    f'step {runner.iter + 1}: {text}, for the '
                    f'{self._skipped}th step in a row'
                )
            runner.logger.warning(
                f'step {runner.iter + 1} skipped: {text} (or on another rank)'
            )
            # With accumulated gradients those of the steps before go too: they
            # are not yet shared among the ranks. The count goes on, so that
            # the next update comes when it would have.
            runner.optim_wrapper.zero_grad()
            runner.optim_wrapper._inner_count += 1

        runner.optim_wrapper.update_params = update_or_skip

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Remember which images the step is made of."""
        samples: Sequence = (data_batch or {}).get('data_samples', ())
        self._images = [image_name(sample) for sample in samples]

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Ask about the step before, keep this one's losses for the next."""
        if self.action == 'skip':
            return
        self._ask()
        values = {
            key: value.detach().isfinite().all()
            for key, value in (outputs or {}).items()
            if isinstance(value, Tensor)
        }
        self._pending = (runner.iter + 1, self._images, values)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """No checkpoint is written of a network that is broken.

        A finite loss can have a gradient that is not: then the weights are
        broken after the step, and no loss has said so yet.
        """
        self._ask()
        state = checkpoint['state_dict']
        broken = [
            name
            for name, value in state.items()
            if isinstance(value, Tensor)
            and value.is_floating_point()
            and not value.isfinite().all()
        ]
        if broken:
            hook = (runner.cfg.get('default_hooks') or {}).get('checkpoint')
            raise NonFiniteLossError(
                f'after step {checkpoint["meta"]["iter"]}: {len(broken)} of '
                f'{len(state)} weights are NaN or infinite, such as '
                f'{", ".join(broken[:3])}. Images of the step: '
                f'{", ".join(self._images)}. No checkpoint was written of it. '
                f'{last_good(runner.work_dir, hook)}. Go on with --resume and '
                'a lower learning rate or clipped gradients '
                '(optim_wrapper.clip_grad=dict(max_norm=1.0))'
            )

    def after_train(self, runner: Runner) -> None:
        """Ask about the last step."""
        self._ask()

    def _ask(self) -> None:
        if self._pending is None:
            return
        (step, images, values), self._pending = self._pending, None
        if not values or torch.stack(list(values.values())).all():
            return
        # The sum of all follows from its parts.
        broken = [k for k, v in values.items() if k != 'loss' and not v]
        raise NonFiniteLossError(
            f'step {step}: {", ".join(broken) or "loss"} is NaN or infinite. '
            f'Images of the step: {", ".join(images)}. No checkpoint was '
            'written of it; lower the learning rate, clip gradients, look at '
            "these images' labels (tools/check_dataset.py), or set "
            'NonFiniteLossHook.action="skip"'
        )
