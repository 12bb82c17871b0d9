"""No score of predictions that are no numbers."""

from collections.abc import Iterator, Sequence

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmprotomtl.registry import HOOKS
from mmprotomtl.structures import MultiTaskDataSample

from .non_finite_loss_hook import image_name


class NonFinitePredictionError(RuntimeError):
    """A network predicted NaN or infinite values."""


@HOOKS.register_module()
class FinitePredictionsHook(Hook):
    """Stops a test whose network gives NaN or infinite values anywhere in its
    logits or predictions: a class made of them looks as good as any other,
    and is scored.

    A validation in a training run goes on, with a warning for each task.

    Args:
        allow: Score a test nevertheless, with a warning for each task.
    """

    # Before predictions are saved and drawn.
    priority = 'HIGH'

    def __init__(self, allow: bool = False) -> None:
        self.allow = allow
        self._said: set[str] = set()

    def before_val_epoch(self, runner: Runner) -> None:
        """Warn anew."""
        self._said = set()

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[MultiTaskDataSample] | None = None,
    ) -> None:
        """Warn of a task's first such image."""
        for sample in outputs or ():
            for task in _broken_tasks(sample):
                if task not in self._said:
                    self._said.add(task)
                    runner.logger.warning(_problem(sample, [task]))

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[MultiTaskDataSample] | None = None,
    ) -> None:
        """Stop, or warn.

        Raises:
            NonFinitePredictionError: The message names image and tasks.
        """
        if self.allow:
            self.after_val_iter(runner, batch_idx, data_batch, outputs)
            return
        for sample in outputs or ():
            tasks = list(_broken_tasks(sample))
            if tasks:
                raise NonFinitePredictionError(
                    f'{_problem(sample, tasks)}. There are no scores of such '
                    'a network. Test an earlier checkpoint, or without mixed '
                    'precision, in which large values overflow; or set '
                    'default_hooks.finite_predictions.allow=True to score it '
                    'nevertheless'
                )


def _broken_tasks(sample: MultiTaskDataSample) -> Iterator[str]:
    """The tasks whose logits or predictions are not finite in all pixels."""
    # A model of another package may not say it of its logits.
    logits = sample.get('finite_logits') or {}
    for name, pred in sorted(sample.pred_maps.items()):
        if not (logits.get(name, True) and pred.isfinite().all()):
            yield name


def _problem(sample: MultiTaskDataSample, tasks: Sequence[str]) -> str:
    return (
        f'{image_name(sample)}: the prediction of {", ".join(tasks)} has NaN '
        'or infinite values'
    )
