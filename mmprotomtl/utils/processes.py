"""Memory and open files of processes, as reported by Linux."""

import multiprocessing
import os
import resource
from pathlib import Path

_MIB = 2**20


def memory(pid: int) -> dict[str, float] | None:
    """Return the memory of a process in MiB.

    Args:
        pid: Id of a process of this user.

    Returns:
        ``rss``, all pages in memory, and ``pss``, in which a page shared by n
        processes counts 1 / n; so ``pss`` also grows if shared pages are
        copied on write. None if the system does not report them.
    """
    try:
        lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    except OSError:
        return None
    rows = dict(line.split(':', 1) for line in lines[1:])
    return {
        name.lower(): int(rows[name].split()[0]) * 1024 / _MIB
        for name in ('Rss', 'Pss')
    }


def open_files(pid: int) -> int | None:
    """Return a process's number of open file descriptors; None if unknown."""
    try:
        return len(os.listdir(f'/proc/{pid}/fd'))
    except OSError:
        return None


def open_files_limit() -> int:
    """Return the maximum number of open file descriptors of a process."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def children() -> list[int]:
    """Return the ids of processes that this one started by multiprocessing."""
    return [
        child.pid for child in multiprocessing.active_children() if child.pid
    ]
