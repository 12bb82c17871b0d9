"""Calls in several processes: the same results, and progress."""

import os
import sys

import pytest

from mmprotomtl.utils import parallel
from mmprotomtl.utils.parallel import parallel_map


def square(number):
    return number**2


def process(number):
    return os.getpid()


def fail(number):
    raise ValueError(f'no {number}')


@pytest.mark.parametrize(('workers', 'items'), [(1, 5), (2, 5), (2, 0)])
def test_results_are_in_order(workers, items):
    found = parallel_map(square, list(range(items)), workers, pool_from=5)
    assert found == [number**2 for number in range(items)]


def test_few_calls_stay_in_this_process():
    here = {os.getpid()}
    assert set(parallel_map(process, range(4), 2, pool_from=5)) == here
    assert here.isdisjoint(parallel_map(process, range(5), 2, pool_from=5))
    assert set(parallel_map(process, range(9), 1, pool_from=5)) == here


@pytest.mark.parametrize('workers', [1, 2])
def test_an_exception_arrives(workers):
    with pytest.raises(ValueError, match='no 0'):
        parallel_map(fail, [0], workers, pool_from=0)


@pytest.mark.parametrize(
    ('terminal', 'items', 'steps'), [(True, 3, 3), (True, 0, 0), (False, 3, 0)]
)
def test_progress_is_for_terminals(monkeypatch, terminal, items, steps):
    shown = []

    class Bar:
        def __init__(self, number):
            assert number == items

        def update(self):
            shown.append(1)

    monkeypatch.setattr(parallel, 'ProgressBar', Bar)
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: terminal, raising=False)
    parallel_map(square, list(range(items)), 1, pool_from=0)
    assert len(shown) == steps
