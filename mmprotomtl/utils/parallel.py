"""Parallel map over many items, with a progress bar."""

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
    """Return ``[function(item) for item in items]``, computed in parallel.

    Args:
        function: A picklable function: a module-level one or a partial of it.
        items: The arguments.
        workers: Number of processes; None: one per CPU core.
        pool_from: Minimum number of items for which a pool of processes is
            started; fewer are processed faster without one.

    Raises:
        Exception: The first exception that a call raises; the remaining items
            are not processed.
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
            f'one of {workers} processes was killed, perhaps because memory '
            'ran out; try fewer workers'
        ) from error


def _start() -> None:
    """Initialise a process of the pool."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # Without this, processes of the pool survive a killed parent.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _shown(results: Iterable[Result], number: int) -> Iterator[Result]:
    """Yield the results; show a progress bar if stdout is a terminal."""
    bar = ProgressBar(number) if sys.stdout.isatty() and number else None
    for result in results:
        yield result
        if bar:
            bar.update()
    if bar:
        print()
