"""No checkpoint is chosen on test data unless asked for by name."""

import logging

from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.runner import Runner

from mmprotomtl.datasets.unwrap import leaf_datasets
from mmprotomtl.registry import HOOKS

from .validation_labels import check_validation_labels


@HOOKS.register_module()
class CheckpointSelectionHook(Hook):
    """Says on what data a run chooses its best checkpoint.

    ``save_best`` (or early stopping) with a ``val_dataloader`` of a test
    split, see :attr:`MultiTaskDataset.TEST_SPLITS`, is refused at the start.
    What the choice is made on goes into every checkpoint, and from there into
    ``metrics.json``.

    Args:
        allow_test_selection: Choose on test data nevertheless. Log,
            checkpoints and ``metrics.json`` then say ``selected_on: test``.
    """

    priority = 'VERY_HIGH'

    def __init__(self, allow_test_selection: bool = False) -> None:
        self.allow_test_selection = allow_test_selection
        self.selection: dict | None = None

    def before_train(self, runner: Runner) -> None:
        """Refuse a choice on test data.

        Raises:
            ValueError: The choice would be made on test data, or by labels
                that the label mask of the training set hides.
        """
        setting = _choosing(runner)
        if setting is None or runner.val_loop is None:
            return
        check_validation_labels(
            runner.train_dataloader.dataset,
            runner.val_dataloader.dataset,
            f'{setting[0]}={setting[1]!r}',
        )
        found = leaf_datasets(runner.val_dataloader.dataset)
        parts = [part for _, part in found]
        tested = [part for part in parts if _is_test(part)]
        self.selection = dict(
            metric=setting[1],
            on='test' if tested else 'val',
            split=[getattr(part, 'split', None) for part in parts],
            holdout=[getattr(part, 'holdout', None) for part in parts],
        )
        if not tested:
            return
        name, split = type(tested[0]).__name__, tested[0].split
        if not self.allow_test_selection:
            raise ValueError(
                f'{setting[0]}={setting[1]!r} would choose a checkpoint on '
                f'test data: val_dataloader.dataset.split={split!r} is an '
                f'official test split of {name}. Carve a validation part from '
                "the training split (split='train', holdout=dict(fraction=.1, "
                "seed=0, part='val'), and part='train' for training), or set "
                'default_hooks.selection.allow_test_selection=True'
            )
        runner.logger.log(
            logging.WARNING,
            f'selected_on: test. {setting[0]}={setting[1]!r} chooses on the '
            f'test split {split!r} of {name}; the scores are not those of '
            'unseen data',
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note what the choice is made on."""
        checkpoint['meta']['selection'] = self.selection


def _choosing(runner: Runner) -> tuple[str, str] | None:
    """The setting that chooses by a validation score, and its value."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.save_best:
            keys = hook.save_best
            keys = [keys] if isinstance(keys, str) else keys
            return 'default_hooks.checkpoint.save_best', ', '.join(keys)
        if isinstance(hook, EarlyStoppingHook):
            return 'EarlyStoppingHook.monitor', hook.monitor
    return None


def _is_test(dataset: object) -> bool:
    return getattr(dataset, 'split', None) in getattr(
        dataset, 'TEST_SPLITS', ()
    )
