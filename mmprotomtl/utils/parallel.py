"""A function over many items: all cores, and a progress bar."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2
import torch
from mmengine.utils import ProgressBar

Item = TypeVar('Item')
Result = TypeVar('Result')


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int | None = None,
    pool_from: int = 2,
) -> list[Result]:
    """``[function(item) for item in items]``, shared out to processes.

    Args:
        function: A module-level function, or a partial of one.
        items: What it is called with, one at a time.
        workers: Processes; None: one for each core.
        pool_from: Fewer items are worked off before a pool has started.

    Raises:
        Exception: The first that a call raises; no more are begun then.
        RuntimeError: The system killed a process.
    """
    workers = min(workers or os.cpu_count() or 1, max(len(items), 1))
    if workers == 1 or len(items) < pool_from:
        return list(_shown(map(function, items), len(items)))
    try:
        with ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context('spawn'),
            initializer=_start,
        ) as pool:
            chunk = max(1, min(16, len(items) // workers))
            results = pool.map(function, items, chunksize=chunk)
            return list(_shown(results, len(items)))
    except BrokenProcessPool as error:
        raise RuntimeError(
            f'one of {workers} processes was killed, perhaps for want of '
            'memory; try fewer workers'
        ) from error


def _start() -> None:
    """Set up a process of the pool."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # A pool whose owner is killed would wait for work for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _shown(results: Iterable[Result], number: int) -> Iterator[Result]:
    """The results, with a progress bar where a person looks on."""
    bar = ProgressBar(number) if sys.stdout.isatty() and number else None
    for result in results:
        yield result
        if bar:
            bar.update()
    if bar:
        print()
