"""Do data and model speak of the same tasks, and are there labels?"""

from collections.abc import Mapping
from typing import Any

from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmprotomtl.datasets import MultiTaskDataset
from mmprotomtl.datasets.labels_used import label_facts
from mmprotomtl.datasets.unwrap import leaf_datasets
from mmprotomtl.registry import HOOKS
from mmprotomtl.tasks import Task, needs_rays
from mmprotomtl.utils.dist import sum_over_ranks, unwrap

from .task_sharing import no_scores


@HOOKS.register_module()
class TaskCheckHook(Hook):
    """Hands the model's tasks to what scores and draws them, and stops a run
    that cannot come to anything, naming the task.

    Before training, validation and testing it compares the model's tasks with
    those of the data set, by what their labels mean, and logs which labels the
    run sees. After one pass over the data it stops a run in which a task saw
    no valid label. Checkpoints say which labels the run uses.
    """

    def __init__(self) -> None:
        self._labels: dict = {}

    def before_train(self, runner: Runner) -> None:
        """Compare with the training set, log the label mask."""
        # Resumed within a pass over the data, it waits for a whole one.
        length = len(runner.train_dataloader)
        self._started = -(-runner.iter // length) * length
        dataset = runner.train_dataloader.dataset
        self._compare(runner, dataset, 'train_dataloader')
        self._labels = label_facts(dataset)
        used = self._labels.get('labels_used')
        _check_whole(dataset, used)
        _check_cameras(unwrap(runner.model).tasks, dataset)
        if used:
            runner.logger.info(f'labels used in training: {_counted(used)}')
        if used and 'derived' in used:
            counts = used['derived']
            runner.logger.info(
                'labels derived from these: '
                + ', '.join(f'{task} {n}' for task, n in counts.items())
            )
        mask = self._labels.get('label_mask') or {}
        # Of a concatenation, the parts have the masks.
        if mask and 'parts' not in mask:
            runner.logger.info(f'label mask: {_described(mask)}')
        for part in mask.get('parts', ()):
            runner.logger.info(
                f'labels of {part["part"]} ({part["type"]}): '
                f'{_described(part)}'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note the labels: wrappers of mmengine and torch say nothing of
        them, or only those of their first data set.
        """
        if self._labels:
            facts = checkpoint['meta'].setdefault('dataset_meta', {})
            facts.update(self._labels)

    def before_val(self, runner: Runner) -> None:
        """Compare with the validation set, hand the tasks on."""
        dataset = runner.val_dataloader.dataset
        self._compare(runner, dataset, 'val_dataloader')
        _check_given(dataset, 'val_dataloader')
        self._hand_on(runner, runner.val_evaluator)

    def before_test(self, runner: Runner) -> None:
        """Compare with the test set, hand the tasks on."""
        dataset = runner.test_dataloader.dataset
        self._compare(runner, dataset, 'test_dataloader')
        _check_given(dataset, 'test_dataloader')
        self._hand_on(runner, runner.test_evaluator)

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
    def _hand_on(runner: Runner, evaluator: Evaluator) -> None:
        """Give the model's tasks to the metrics and to the visualizer."""
        tasks = unwrap(runner.model).tasks
        for taker in (*evaluator.metrics, runner.visualizer):
            if hasattr(taker, 'take_tasks'):
                taker.take_tasks(tasks)

    @staticmethod
    def _compare(runner: Runner, dataset: Any, loader: str) -> None:
        compare_tasks(unwrap(runner.model).tasks, dataset, loader)


def compare_tasks(
    model_tasks: Mapping[str, Task], dataset: Any, loader: str
) -> None:
    """Compare the tasks of a model with those of a data set.

    Args:
        model_tasks: The model's.
        dataset: A data set, or a wrapper of some; one without ``tasks`` is
            passed over.
        loader: Where it is in the config, for errors.

    Raises:
        ValueError: One of the two has a task that the other lacks, or they
            mean different things by a task.
    """
    parts = [
        (place, part)
        for place, part in leaf_datasets(dataset, f'{loader}.dataset')
        if hasattr(part, 'tasks')
    ]
    if not parts:
        return
    found = {name for _, part in parts for name in part.tasks}
    for name in model_tasks:
        if name not in found:
            raise ValueError(
                f'model.tasks.{name}: {loader}.dataset has no such task; it '
                f'has {sorted(found)}'
            )
    for place, part in parts:
        for name, theirs in part.tasks.items():
            if name not in model_tasks:
                raise ValueError(
                    f'{place}.tasks.{name}: the model has no such task; it '
                    f'has {list(model_tasks)}'
                )
            there, ours = theirs.meaning(), model_tasks[name].meaning()
            for key in sorted({*there, *ours}):
                pair = there.get(key), ours.get(key)
                if None not in pair and pair[0] != pair[1]:
                    raise ValueError(
                        f'tasks.{name}.{key} is {pair[1]!r} in the model, '
                        f'but {pair[0]!r} in {place} '
                        f'({type(part).__name__}): set tasks.{name}.{key} '
                        'once, at the top level of the config'
                    )


def _check_whole(dataset: Any, used: Mapping | None) -> None:
    """Check that boxes are cut from images only that the run uses.

    Raises:
        ValueError: A wrapper leaves out images of a data set that mixes them.
    """
    parts = [part for _, part in leaf_datasets(dataset)]
    mixing = [part for part in parts if getattr(part, 'mixes', False)]
    if mixing and used and used['images'] < sum(map(len, parts)):
        raise ValueError(
            f'train_dataloader.dataset: {type(dataset).__name__} leaves out '
            'images, of which MultiTaskCutMix would nevertheless take boxes '
            'with their labels: choose the images by `indices` or `holdout` '
            'of the data set itself'
        )


def _check_cameras(tasks: Mapping[str, Task], dataset: Any) -> None:
    """Check that tasks that learn by the camera's rays have some.

    Raises:
        ValueError: The intrinsics of a data set are unknown.
    """
    if not needs_rays(tasks):
        return
    for place, part in leaf_datasets(dataset, 'train_dataloader.dataset'):
        if not (isinstance(part, MultiTaskDataset) and part.has_camera()):
            names = [n for n, task in tasks.items() if task.guide_weight]
            raise ValueError(
                f'{place} ({type(part).__name__}) does not know the '
                f'intrinsics of its images, by which {", ".join(names)} would '
                'learn from labels of other tasks: set `camera` there'
            )


def _check_given(dataset: Any, loader: str) -> None:
    """Check that a data set to score on has no derived labels.

    Raises:
        ValueError: It has.
    """
    for place, part in leaf_datasets(dataset, f'{loader}.dataset'):
        if getattr(part, 'derived_from', None):
            raise ValueError(no_scores(place))


def _described(mask: Mapping) -> str:
    """The summary of a label mask as a line of the log."""
    return (
        f'protocol {mask["protocol"]}, seed {mask["seed"]}, source '
        f'{mask["source"]}, {_counted(mask)}'
    )


def _counted(labels: Mapping) -> str:
    counts = ', '.join(f'{t} {n}' for t, n in labels['labels'].items())
    return f'{labels["images"]} images ({counts}), sha256 {labels["sha256"]}'
