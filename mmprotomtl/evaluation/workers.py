"""Statistics of slow measures, in processes beside the evaluation."""

from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from .measures import Measure
from .sums import ExactSum


class Workers:
    """Processes that compute statistics while the network goes on.

    What waits is bounded, so that memory does not grow where the network is
    faster than they are.

    Args:
        number: Of processes.
    """

    #: Images that may wait for each process.
    WAITING = 4

    def __init__(self, number: int) -> None:
        self._number = number
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: deque[tuple[ExactSum, Future[Any]]] = deque()

    def submit(
        self,
        total: ExactSum,
        measure: Measure,
        pred: Tensor,
        label: Tensor,
        valid: Tensor,
    ) -> None:
        """Compute the statistics of an image and add them to ``total``.

        Args:
            total: Where they go, by :meth:`finish` at the latest.
            measure: Whose.
            pred: See :meth:`Measure.statistics`.
            label: See :meth:`Measure.statistics`.
            valid: See :meth:`Measure.statistics`.
        """
        if self._pool is None:
            # A fork of a process with threads or a GPU may hang.
            self._pool = ProcessPoolExecutor(
                self._number, get_context('spawn'), _one_thread
            )
        # As arrays: tensors would cost an open file each.
        arrays = [tensor.cpu().numpy() for tensor in (pred, label, valid)]
        future = self._pool.submit(_statistics, measure, *arrays)
        self._waiting.append((total, future))
        while len(self._waiting) > self.WAITING * self._number:
            self._take()

    def _take(self) -> None:
        total, future = self._waiting.popleft()
        try:
            total.add(future.result())
        except BrokenProcessPool as error:
            raise RuntimeError(
                f'one of the {self._number} processes that score '
                '(MultiTaskMetric.workers) was killed, perhaps because memory '
                'ran out; try fewer workers'
            ) from error

    def finish(self) -> None:
        """Wait for all, and end the processes.

        Raises:
            RuntimeError: One of them was killed.
        """
        while self._waiting:
            self._take()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def _one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _statistics(
    measure: Measure, pred: np.ndarray, label: np.ndarray, valid: np.ndarray
) -> np.ndarray:
    tensors = [torch.from_numpy(array) for array in (pred, label, valid)]
    return measure.statistics(*tensors).numpy()
