"""Checkpoints that are either whole or not there."""

from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook

from mmprotomtl.registry import HOOKS
from mmprotomtl.utils.files import write_bytes


class AtomicBackend(LocalBackend):
    """Local files, written beside their place and then moved there."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes at once."""
        write_bytes(filepath, obj)


register_backend('atomic', AtomicBackend, force=True)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, which a kill or a full disk in the midst
    of writing leaves with the last good checkpoint.

    Args:
        backend_args: Where to write; None: local files, at once.
        **kwargs: See :class:`mmengine.hooks.CheckpointHook`.
    """

    def __init__(self, backend_args: dict | None = None, **kwargs) -> None:
        if backend_args is None:
            backend_args = dict(backend='atomic')
        super().__init__(backend_args=backend_args, **kwargs)


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """The checkpoint to go on from.

    It is what ``last_checkpoint`` names; where a killed run left that file
    empty, or what it names has gone, it is the newest one of the folder.

    Returns:
        The file, or None if there is none yet.
    """
    work_dir = Path(work_dir)
    note = work_dir / 'last_checkpoint'
    named = note.read_text().strip() if note.is_file() else ''
    if named and Path(named).is_file():
        return named
    found = [*work_dir.glob('epoch_*.pth'), *work_dir.glob('iter_*.pth')]
    newest = max(found, key=lambda path: path.stat().st_mtime, default=None)
    return None if newest is None else str(newest)
