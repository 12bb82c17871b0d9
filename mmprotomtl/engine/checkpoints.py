"""Checkpoints that are either whole or not there."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop, IterBasedTrainLoop, Runner

from mmprotomtl.registry import HOOKS
from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.files import write_bytes

from .find_checkpoint import latest_checkpoint
from .metric_choice import choose_by


class AtomicBackend(LocalBackend):
    """Local files, written beside their place and then moved there."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes at once."""
        write_bytes(filepath, obj)


register_backend('atomic', AtomicBackend, force=True)


class _RemoveLater:
    """A file backend that only notes what is to be removed."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.files: list[str] = []
        self.folders: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.files.append(path)

    def rmtree(self, path: str) -> None:
        self.folders.append(path)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, which a kill or a full disk in the midst
    of writing leaves with the last good checkpoint.

    A checkpoint is written beside its place and then moved there, and those
    that ``max_keep_ckpts`` and ``save_best`` no longer keep are removed after
    that, so for a moment the disk holds one more. What a killed run left half
    written is removed when the next one starts.

    Whether a higher score of ``save_best`` is better follows from the tasks,
    see :func:`~.metric_choice.choose_by`, and not from the letters of its
    name.

    Args:
        backend_args: Where to write; None: local files, at once.
        **kwargs: See :class:`mmengine.hooks.CheckpointHook`.
    """

    file_backend: Any
    save_best: list[str] | None
    #: ``epoch`` and ``iter`` of the checkpoint that is being written.
    _place: Mapping[str, int] = {}

    def __init__(self, backend_args: dict | None = None, **kwargs) -> None:
        if backend_args is None:
            backend_args = dict(backend='atomic')
        super().__init__(backend_args=backend_args, **kwargs)

    def _init_rule(self, rules: list, key_indicators: list) -> None:
        # Called before the tasks are known, which say the direction.
        if len(rules) == 1:
            rules = rules * len(key_indicators)
        self.rules, self.key_indicators = rules, key_indicators

    def before_run(self, runner: Runner) -> None:
        """Choose the scores of ``save_best`` and their directions.

        Raises:
            ValueError: See :func:`~.metric_choice.choose_by`; or checkpoints
                are counted in epochs, and the run in iterations.
        """
        if not isinstance(runner._train_loop, BaseLoop):
            return
        if self.by_epoch and isinstance(
            runner._train_loop, IterBasedTrainLoop
        ):
            raise ValueError(
                'default_hooks.checkpoint.by_epoch=True: a run of '
                f'{runner.max_iters} iterations counts no epochs. Set '
                'default_hooks.checkpoint.by_epoch=False and '
                'default_hooks.checkpoint.interval, the iterations between '
                'two checkpoints'
            )
        if not self.save_best:
            return
        setting = 'default_hooks.checkpoint.save_best'
        chosen = [
            choose_by(runner, setting, key, rule)
            for key, rule in zip(self.key_indicators, self.rules, strict=True)
        ]
        self.save_best = [key for key, _ in chosen]
        super()._init_rule([rule for _, rule in chosen], self.save_best)

    def before_train(self, runner: Runner) -> None:
        """Prepare, and remove what was left half written."""
        super().before_train(runner)
        if not is_main_process() or not Path(self.out_dir).is_dir():
            return
        for kind in ('epoch', 'iter', 'best'):
            for draft in Path(self.out_dir).glob(f'.{kind}_*.pth.*'):
                draft.unlink(missing_ok=True)
                runner.logger.info(f'removed {draft}, left by a killed run')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Say of what place it is: ``FlexibleRunner`` counts one too many
        where a checkpoint is written after a validation.
        """
        checkpoint['meta'].update(self._place)

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int, meta: dict
    ) -> None:
        self._place = dict(meta)
        with self._removing_later():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        self._place = dict(epoch=runner.epoch, iter=runner.iter)
        with self._removing_later():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_later(self) -> Iterator[None]:
        """Let go of old checkpoints only when the new one is there."""
        backend = self.file_backend
        self.file_backend = later = _RemoveLater(backend)
        try:
            yield
        finally:
            self.file_backend = backend
        # A resumed run may write a file again that it was to replace.
        new = {self.last_ckpt, getattr(self, 'best_ckpt_path', None)}
        new |= set(getattr(self, 'best_ckpt_path_dict', {}).values())
        for path in later.files:
            if path not in new:
                backend.remove(path)
        for path in later.folders:
            if path not in new:
                backend.rmtree(path)


@contextmanager
def explain_full_disk(
    work_dir: str, checkpoint_hook: Mapping | None = None
) -> Iterator[None]:
    """Say which checkpoint is left when a run ends for want of room.

    Args:
        work_dir: Of the run.
        checkpoint_hook: Its ``default_hooks.checkpoint``.

    Raises:
        SystemExit: Instead of an ``OSError`` of a full disk or quota.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SystemExit(
            f'{error.filename or work_dir}: {error.strerror}. '
            f'{last_good(work_dir, checkpoint_hook)}; make room and go on '
            'with --resume'
        ) from error


def last_good(
    work_dir: str | Path, checkpoint_hook: Mapping | None = None
) -> str:
    """Says which checkpoint of a run's folder is left."""
    try:
        last = latest_checkpoint(work_dir, checkpoint_hook)
    except DataFileError as error:
        return f'No checkpoint is left: {error}'
    if last is None:
        return 'There is no checkpoint yet'
    return f'The last good checkpoint is {last}'
