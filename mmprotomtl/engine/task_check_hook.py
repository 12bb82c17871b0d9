"""Do data and model speak of the same tasks, and are there labels?"""

from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmprotomtl.registry import HOOKS
from mmprotomtl.tasks import build_tasks
from mmprotomtl.utils.dist import sum_over_ranks, unwrap


@HOOKS.register_module()
class TaskCheckHook(Hook):
    """Stops a run that cannot come to anything, naming the task.

    Before training and testing it compares the model's tasks with those of
    the data set, and logs which labels the run sees. After one pass over the
    data it stops a run in which a task saw no valid label.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare with the training set, log the label mask."""
        self._started = runner.iter
        dataset = runner.train_dataloader.dataset
        info = getattr(dataset, 'metainfo', {})
        self._compare(runner, info, 'train_dataloader')
        mask = info.get('label_mask')
        if mask:
            runner.logger.info(f'labels seen in training: {_described(mask)}')
            for part in mask.get('parts', ()):
                runner.logger.info(
                    f'labels of {part["part"]} ({part["type"]}): '
                    f'{_described(part)}'
                )

    def before_val(self, runner: Runner) -> None:
        """Compare with the validation set."""
        info = getattr(runner.val_dataloader.dataset, 'metainfo', {})
        self._compare(runner, info, 'val_dataloader')

    def before_test(self, runner: Runner) -> None:
        """Compare with the test set."""
        info = getattr(runner.test_dataloader.dataset, 'metainfo', {})
        self._compare(runner, info, 'test_dataloader')

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """After one pass over the data, check that each task had labels."""
        done = runner.iter + 1 - self._started
        if done != len(runner.train_dataloader):
            return
        head = unwrap(runner.model).head
        seen = sum_over_ranks(head.labels_seen).tolist()
        unseen = [
            name for name, n in zip(head.tasks, seen, strict=True) if not n
        ]
        if unseen:
            raise RuntimeError(
                f'no valid label of {", ".join(unseen)} in a whole pass over '
                f'the training data ({done} iterations): its loss was 0 all '
                'the time. Check the label mask (partial_labels) and the '
                'label files, or take the task out of `tasks`'
            )

    @staticmethod
    def _compare(runner: Runner, info: dict, where: str) -> None:
        model_tasks = unwrap(runner.model).tasks
        if 'tasks' not in info:
            return
        data_tasks = build_tasks(info['tasks'])
        for name, task in model_tasks.items():
            if name not in data_tasks:
                raise ValueError(
                    f'model.tasks.{name}: {where}.dataset has no such task; '
                    f'it has {list(data_tasks)}'
                )
            ours, theirs = task.out_channels, data_tasks[name].out_channels
            if ours != theirs:
                raise ValueError(
                    f'model.tasks.{name} has {ours} output channels, '
                    f'{where}.dataset.tasks.{name} has {theirs}'
                )


def _described(mask: Mapping) -> str:
    """The summary of a label mask as a line of the log."""
    counts = ', '.join(f'{t} {n}' for t, n in mask['labels'].items())
    return (
        f'protocol {mask["protocol"]}, seed {mask["seed"]}, source '
        f'{mask["source"]}, {mask["images"]} images ({counts}), sha256 '
        f'{mask["sha256"]}'
    )
