"""What codebook and prototypes do, in the log."""

import numpy as np
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner
from prettytable import PrettyTable

from mmprotomtl.registry import HOOKS
from mmprotomtl.utils.dist import unwrap
from mmprotomtl.utils.drawing import heat_map

from .sample_hooks import training_step


@HOOKS.register_module()
class PrototypeLogHook(Hook):
    """Logs the usage of the codebook and the affinities of the tasks.

    The shares and the perplexity of the codebook go with the losses. The
    matrix of mean affinities is a table in the text log and
    ``affinity/<task>/<prototype>`` in ``scalars.json``; row: features of a
    task, column: the prototypes of a task together, or a prototype that
    belongs to no task. After each validation the backends get it as a picture,
    ``affinity``. A neck without prototypes has nothing to log.

    Args:
        interval: Iterations between two looks; None: as between two lines of
            the log (``LoggerHook.interval``).
    """

    # Before the LoggerHook, so that it prints what is found here.
    priority = 'NORMAL'

    def __init__(self, interval: int | None = None) -> None:
        self.interval = interval
        self._latest: tuple[list[str], list[str], np.ndarray] | None = None

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Look, every ``interval`` iterations and at the end of an epoch."""
        if self.interval is None:
            self.interval = _log_interval(runner)
        last = batch_idx + 1 == len(runner.train_dataloader)
        if not (last or self.every_n_inner_iters(batch_idx, self.interval)):
            return
        model = unwrap(runner.model)
        if not hasattr(model.neck, 'statistics'):
            return
        found = model.neck.statistics()
        for key, value in found['codebook'].items():
            runner.message_hub.update_scalar(f'train/codebook_{key}', value)
        tasks = list(model.tasks)
        affinity = found['affinity']
        slots = tasks + [
            f'slot {i}' for i in range(len(tasks), affinity.shape[1])
        ]
        self._latest = tasks, slots, affinity
        if last:
            runner.logger.info(_table(tasks, slots, affinity))
        runner.visualizer.add_scalars(
            {
                f'affinity/{task}/{slot}': float(value)
                for task, row in zip(tasks, affinity, strict=True)
                for slot, value in zip(slots, row, strict=True)
            },
            step=runner.iter + 1,
        )

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Draw the affinities that were found last."""
        del metrics
        if self._latest is None:
            return
        tasks, slots, affinity = self._latest
        title = 'mean affinity of features (rows) to prototypes (columns)'
        picture = heat_map(affinity, tasks, slots, title)
        runner.visualizer.add_image('affinity', picture, training_step(runner))


def _log_interval(runner: Runner) -> int:
    """Iterations between two lines of the log."""
    for hook in runner.hooks:
        if isinstance(hook, LoggerHook):
            return hook.interval
    return 50


def _table(tasks: list[str], slots: list[str], affinity: np.ndarray) -> str:
    table = PrettyTable(['affinity to', *slots], align='r')
    for task, row in zip(tasks, affinity, strict=True):
        table.add_row([task, *(f'{value:.3f}' for value in row)])
    return (
        "mean affinity of the tasks' features (rows) to the prototypes "
        f'(columns):\n{table}'
    )
