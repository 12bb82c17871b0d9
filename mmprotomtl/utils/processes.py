"""What processes hold: memory and open files, as Linux tells it."""

import multiprocessing
import os
import resource
from pathlib import Path

_MIB = 2**20


def memory(pid: int) -> dict[str, float] | None:
    """Memory of a process in MiB; None where the system does not say.

    ``rss`` are all of its pages in memory. ``pss`` counts a page that several
    processes share in parts, so it grows too where a page of the parent is
    copied because the child wrote to it.

    Args:
        pid: The process, one of this user's.
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
    """Number of a process's open file descriptors, or None."""
    try:
        return len(os.listdir(f'/proc/{pid}/fd'))
    except OSError:
        return None


def open_files_limit() -> int:
    """How many file descriptors this process and its children may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def children() -> list[int]:
    """The processes that this one started by multiprocessing."""
    return [
        child.pid for child in multiprocessing.active_children() if child.pid
    ]
