"""One training at a time in a folder."""

import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.logging import print_log

from mmprotomtl.utils.files import make_output_folder

#: The file in a run's folder that is locked.
NAME = 'run.lock'
_held: set[Path] = set()


class FolderInUseError(RuntimeError):
    """Another training is going on in a run's folder."""


@contextmanager
def lock_run(work_dir: str | Path, is_main: bool = True) -> Iterator[None]:
    """Keep other trainings out of a run's folder.

    ``run.lock`` in it is locked and says who has it: host, process and since
    when. The system lets go of the lock when the process ends, however it
    does, also on network file systems that have locks. The file stays, empty.

    Args:
        work_dir: Of the run.
        is_main: Whether this is the run's first process; others lock nothing.

    Raises:
        FolderInUseError: Another process has the lock; the message names it.
        OSError: The folder can't be written to.
    """
    path = Path(work_dir, NAME).resolve()
    if not is_main or path in _held:
        yield
        return
    make_output_folder(work_dir, '--work-dir')
    # A lock of POSIX and not of BSD: forked loader workers, which may outlive
    # a killed run for seconds, do not have it.
    with path.open('a+') as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            raise FolderInUseError(
                f'{work_dir}: {_described(file.read())} is training in this '
                f'folder ({path} is locked). Give this run another one '
                '(--work-dir), or end that one first'
            ) from error
        except OSError as error:
            print_log(
                f'{path}: {error.strerror}: this file system has no locks. '
                'See to it that no second training runs in the folder',
                level=logging.WARNING,
            )
        _held.add(path)
        try:
            file.truncate(0)
            file.write(
                json.dumps(
                    dict(
                        host=socket.gethostname(),
                        pid=os.getpid(),
                        start=time.strftime('%Y-%m-%d %H:%M:%S'),
                    )
                )
            )
            file.flush()
            yield
        finally:
            _held.discard(path)
            file.truncate(0)


def _described(text: str) -> str:
    try:
        owner = json.loads(text)
        return (
            f'process {owner["pid"]} on {owner["host"]} (since '
            f'{owner["start"]})'
        )
    except (ValueError, LookupError, TypeError):
        return 'another process'  # It has not written who it is yet.
