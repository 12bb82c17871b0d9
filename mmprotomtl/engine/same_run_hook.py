"""A resumed run is the run that was begun."""

from typing import Any

from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner

from mmprotomtl.registry import HOOKS

from .missed_validation import MissedValidation
from .run_record import (
    Difference,
    accumulative_counts,
    batch_size_of,
    differences,
    run_settings,
    settings_of_old,
    table,
)
from .seed_hook import sampler_of


class OtherRunError(ValueError):
    """A checkpoint was written by a run with other settings."""


@HOOKS.register_module()
class SameRunHook(Hook):
    """Refuses to go on from a checkpoint with other settings than its run's.

    Every checkpoint holds what defines its run
    (:func:`~.run_record.run_settings`, ``meta['run']``). A resumed run is
    compared with it before the first step. Checkpoints of earlier
    versions have no such record: what they say is compared, and a warning
    names the rest.

    A checkpoint from within an epoch is resumed where it was written: the
    images that the epoch has seen already are left out of it. A validation
    that was due at that place is done first, see
    :class:`~.missed_validation.MissedValidation`.

    Args:
        allow_differences: Go on nevertheless (``tools/train.py
            --resume-anyway``). All checkpoints from then on, and the
            ``metrics.json`` of their tests, list the differences as
            ``resumed_with_differences``.
    """

    # Before those that take the state of a checkpoint.
    priority = 'HIGHEST'

    def __init__(self, allow_differences: bool = False) -> None:
        self.allow_differences = allow_differences
        self._settings: dict[str, Any] | None = None
        self._mixed: list[dict] = []
        self._done = 0
        self._validated_at: int | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare, if a run is resumed.

        Raises:
            OtherRunError: Something differs; the message has a table of
                setting, value then and value now.
        """
        if not runner._resume or not isinstance(runner._train_loop, BaseLoop):
            return
        meta, now = checkpoint.get('meta') or {}, self._now(runner)
        if 'iter' not in meta:
            return  # No state of a run, which others refuse.
        if 'run' in meta:
            then = meta['run']['settings']
            self._mixed = [*meta['run']['resumed_with_differences']]
        else:
            then, now = _known_of_old(runner, meta, now)
        found = [*differences(then, now), *_lost(runner, meta)]
        if found:
            self._refuse_or_note(runner, found, meta)
            # mmengine would take that of the checkpoint, but the sampler has
            # this one.
            meta['seed'] = runner.seed
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._find_place(runner, meta, then)
        self._validated_at = (meta.get('run') or {}).get('validated_at')
        runner.register_hook(MissedValidation(self._validated_at))

    def before_train(self, runner: Runner) -> None:
        """Look at the settings; say whether the run is a mixed one."""
        self._now(runner)
        if self._mixed:
            runner.logger.warning(
                'this run was resumed with other settings '
                f'{len(self._mixed)} times: its scores are of no single '
                'setting'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Leave out what the epoch has done before the checkpoint."""
        loop, done = runner.train_loop, self._done
        if not done:
            return
        loader = runner.train_dataloader
        sampler_of(loader).leave_out(done * (batch_size_of(loader) or 1))
        # Hooks shall see the number of the step in the epoch.
        run_iter = loop.run_iter
        loop.run_iter = lambda idx, batch: run_iter(idx + done, batch)

    def after_train_epoch(self, runner: Runner) -> None:
        """The next epoch is a whole one."""
        if self._done:
            self._done = 0
            del runner.train_loop.run_iter

    def before_val_epoch(self, runner: Runner) -> None:
        """Let all processes validate what the checkpoints hold: the running
        statistics of the first one. Without SyncBN each has its own, and a
        resumed run would not have those of the others.
        """
        for buffer in runner.model.buffers():
            broadcast(buffer)

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Note it for the checkpoints, before one is chosen as the best."""
        self._validated_at = runner.iter

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note what defines the run."""
        checkpoint['meta']['run'] = dict(
            settings=self._now(runner),
            pending_steps=_pending_steps(runner),
            validated_at=self._validated_at,
            resumed_with_differences=self._mixed,
        )

    def _now(self, runner: Runner) -> dict[str, Any]:
        if self._settings is None:
            self._settings = run_settings(runner)
        return self._settings

    def _refuse_or_note(
        self, runner: Runner, found: list[Difference], meta: dict
    ) -> None:
        """Raise the error, or keep the differences for the checkpoints."""
        text = (
            f'{runner._load_from}: the run that wrote it, and this one, are '
            f'not the same:\n{table(found)}\n'
        )
        if not self.allow_differences:
            raise OtherRunError(
                f'{text}Resume it with the settings of then (they are in its '
                'work dir), or begin a new run with its weights (load_from '
                'and no --resume). To go on all the same: --resume-anyway, '
                'or default_hooks.same_run.allow_differences=True; '
                'metrics.json then says that the run is mixed'
            )
        runner.logger.warning(f'{text}resumed all the same')
        self._mixed += [
            dict(row._asdict(), epoch=meta['epoch'], iter=meta['iter'])
            for row in found
        ]

    def _find_place(self, runner: Runner, meta: dict, then: dict) -> None:
        """Find how much of its epoch a checkpoint has done.

        Raises:
            OtherRunError: The run can't begin at that place.
        """
        loader = runner.train_dataloader
        length, epoch = len(loader), meta['epoch']
        before = then.get('iterations_per_epoch') or length
        done = meta['iter'] - epoch * before
        if not 0 <= done <= before:
            return  # Of an earlier version; ScheduleHook refuses it.
        place = f'{runner._load_from}: it is from within an epoch, after '
        place += f'{done} of {before} iterations'
        at_end = 'Resume from a checkpoint of the end of an epoch'
        if before != length:
            if 0 < done < before:
                raise OtherRunError(
                    f'{place}, and one has {length} now. {at_end}'
                )
            done = length if done else 0
            meta['iter'] = epoch * length + done
        sampler = sampler_of(loader)
        known = hasattr(sampler, 'leave_out') and batch_size_of(loader)
        if done and not known:
            raise OtherRunError(
                f'{place}, and a {type(sampler).__name__} can not begin '
                f'there. {at_end}, or take '
                "train_dataloader.sampler.type='SeededSampler'"
            )
        self._done = done


def _known_of_old(runner: Runner, meta: dict, now: dict) -> tuple[dict, dict]:
    """What can be compared with a checkpoint that has no record: the settings
    then and now.
    """
    then = {
        key: value
        for key, value in settings_of_old(meta).items()
        if key == 'label_mask' or now.get(key) is not None
    }
    unknown = [key for key in now if key not in then]
    runner.logger.warning(
        f'{runner._load_from}: a checkpoint of an earlier version. It does '
        f'not say whether these are as they were: {", ".join(unknown)}'
    )
    return then, {key: now.get(key) for key in then}


def _pending_steps(runner: Runner) -> int:
    """Steps whose gradients are accumulated and not yet in the weights."""
    counts, wrapper = accumulative_counts(runner), runner.optim_wrapper
    if counts == 1 or not hasattr(wrapper, 'should_update'):
        return 0
    return 0 if wrapper.should_update() else wrapper._inner_count % counts


def _lost(runner: Runner, meta: dict) -> list[Difference]:
    """What a resumed run would do otherwise, whatever its settings."""
    counts, lost = accumulative_counts(runner), []
    pending = (meta.get('run') or {}).get('pending_steps')
    if pending is None:
        pending = meta['iter'] % counts
    if pending:
        lost.append(
            Difference('accumulated gradients', f'of {pending} steps', 'lost')
        )
    if getattr(runner.train_loop, 'fast_forward_on_resume', False):
        lost.append(
            Difference(
                'order of the images',
                f'after {meta["iter"]} iterations',
                'from the start (train_cfg.fast_forward_on_resume=True)',
            )
        )
    return lost
