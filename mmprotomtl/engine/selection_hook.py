"""No checkpoint is chosen on test data unless asked for by name."""

import logging
from collections.abc import Iterator

from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmprotomtl.datasets.unwrap import leaf_datasets
from mmprotomtl.registry import HOOKS

from .metric_choice import choose_by
from .run_length import each_scheduler
from .validation_labels import check_validation_labels


@HOOKS.register_module()
class CheckpointSelectionHook(Hook):
    """Says on what data a run chooses its best checkpoint, and by what.

    A score that the validation does not give, or a rule that takes the worst,
    is refused at the start: for ``save_best``, early stopping and schedules
    that go by a score, whoever wrote the hook.

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
        self._resumed: dict | None = None

    def before_train(self, runner: Runner) -> None:
        """Refuse a choice on test data.

        Raises:
            ValueError: The choice would be made on test data, by labels that
                the label mask of the training set hides, or by a score that
                there is not, or in the wrong direction.
        """
        choices = list(_choices(runner))
        if not choices:
            return
        for setting, keys, rules in choices:
            # Hooks of mmengine have guessed the direction, or have a default.
            for key, rule in zip(keys, rules, strict=True):
                if key == 'auto':
                    raise ValueError(
                        f"{setting}='auto' of mmengine's CheckpointHook takes "
                        'the first score that there is: take our '
                        'AtomicCheckpointHook'
                    )
                choose_by(runner, setting, key, rule)
        self._warn_of_a_single_validation(runner, choices[0][0])
        setting, chosen = choices[0][0], ', '.join(choices[0][1])
        self._forget_another_best(runner, chosen)
        hidden = check_validation_labels(
            runner.train_dataloader.dataset,
            runner.val_dataloader.dataset,
            f'{setting}={chosen!r}',
        )
        found = leaf_datasets(runner.val_dataloader.dataset)
        parts = [part for _, part in found]
        tested = [part for part in parts if _is_test(part)]
        self.selection = dict(
            metric=chosen,
            on='test' if tested else 'val',
            split=[getattr(part, 'split', None) for part in parts],
            holdout=[getattr(part, 'holdout', None) for part in parts],
        )
        if hidden:
            self.selection['hidden_labels'] = hidden
            runner.logger.warning(
                f'{setting}={chosen!r} chooses by {hidden} labels that the '
                "label mask hides from training, as partial_labels='full' of "
                'val_dataloader.dataset says'
            )
        if not tested:
            return
        name, split = type(tested[0]).__name__, tested[0].split
        if not self.allow_test_selection:
            raise ValueError(
                f'{setting}={chosen!r} would choose a checkpoint on '
                f'test data: val_dataloader.dataset.split={split!r} is an '
                f'official test split of {name}. Carve a validation part from '
                "the training split (split='train', holdout=dict(fraction=.1, "
                "seed=0, part='val'), and part='train' for training), or set "
                'default_hooks.selection.allow_test_selection=True'
            )
        runner.logger.log(
            logging.WARNING,
            f'selected_on: test. {setting}={chosen!r} chooses on the '
            f'test split {split!r} of {name}; the scores are not those of '
            'unseen data',
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember what the run that is resumed has chosen by."""
        self._resumed = checkpoint.get('meta', {}).get('selection')

    def _forget_another_best(self, runner: Runner, chosen: str) -> None:
        """Drop the best score of a resumed run that chose by another."""
        earlier = (self._resumed or {}).get('metric')
        if not runner._resume or earlier in (None, chosen):
            return
        info = runner.message_hub.runtime_info
        for name in [name for name in info if name.startswith('best_')]:
            del info[name]
        runner.logger.warning(
            f'resumed from a run that chose by {earlier}: its best score is '
            f'no score of {chosen}, and the choice begins anew'
        )

    @staticmethod
    def _warn_of_a_single_validation(runner: Runner, setting: str) -> None:
        loop = runner.train_loop
        by_iter = isinstance(loop, IterBasedTrainLoop)
        length = runner.max_iters if by_iter else runner.max_epochs
        # With dynamic_intervals it is not the only interval.
        if min(loop.dynamic_intervals) >= length > 1:
            runner.logger.warning(
                f'{setting}: there is a single validation, at the end of the '
                'run, so that there is nothing to choose. Set '
                'train_cfg.val_interval=1 or the like'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note what the choice is made on."""
        checkpoint['meta']['selection'] = self.selection


def _choices(runner: Runner) -> Iterator[tuple[str, list[str], list]]:
    """What chooses by validation scores: setting, scores and rules."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.save_best:
            keys = hook.save_best
            keys = [keys] if isinstance(keys, str) else list(keys)
            setting = 'default_hooks.checkpoint.save_best'
            yield setting, keys, list(hook.rules)
        if isinstance(hook, EarlyStoppingHook):
            yield 'EarlyStoppingHook.monitor', [hook.monitor], [hook.rule]
    for place, scheduler in each_scheduler(runner.param_schedulers):
        if getattr(scheduler, 'need_val_args', False):
            yield f'{place}.monitor', [scheduler.monitor], [scheduler.rule]


def _is_test(dataset: object) -> bool:
    return getattr(dataset, 'split', None) in getattr(
        dataset, 'TEST_SPLITS', ()
    )
