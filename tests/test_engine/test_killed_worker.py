"""A loader worker that dies ends the run at once, with a word of it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmprotomtl.evaluation.sums import ExactSum
from mmprotomtl.evaluation.workers import Workers
from mmprotomtl.testing import PLAIN, tiny_cfg
from tests.conftest import ROOT

OUT_OF_MEMORY = """
from mmprotomtl.registry import TRANSFORMS

@TRANSFORMS.register_module()
class OutOfMemory:
    def __call__(self, results):
        if results['sample_id'] == '3':
            raise MemoryError('Unable to allocate 8 TiB')
        return results
"""


@pytest.fixture
def started(tiny_config, tmp_path):
    """Starts a run that would last; its process, output in a file."""
    processes = []

    def start(module=None):
        cfg = Config.fromfile(tiny_config)
        cfg.model = tiny_cfg(**PLAIN)
        cfg.train_cfg.max_epochs = 10000
        cfg.default_hooks.checkpoint.interval = 10000
        for name in ('dataloader', 'evaluator', 'cfg'):
            cfg.pop(f'test_{name}', None)
        if module is not None:
            (tmp_path / 'user_steps.py').write_text(module)
            cfg.custom_imports = dict(imports=['user_steps'])
            steps = cfg.train_dataloader.dataset.pipeline
            steps.insert(2, dict(type='OutOfMemory'))
        cfg.dump(tmp_path / 'long.py')
        log = (tmp_path / 'log.txt').open('w')
        paths = [str(tmp_path), *sys.path]
        process = subprocess.Popen(
            [sys.executable, ROOT / 'tools/train.py', tmp_path / 'long.py',
             '--work-dir', tmp_path / 'run'],
            stdout=log, stderr=subprocess.STDOUT, cwd=ROOT,
            env=dict(
                os.environ, OMP_NUM_THREADS='1', PYTHONPATH=':'.join(paths)
            ),
        )  # fmt: skip
        processes.append(process)
        return process, tmp_path / 'log.txt'

    yield start
    for process in processes:
        process.kill()
        process.wait()


def wait_for(true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_worker_is_killed(started):
    """As the kernel does when memory runs out."""
    process, log = started()
    trains = re.compile(r'Epoch\(train\) +\[2\]\[')
    wait_for(lambda: trains.search(log.read_text()) or process.poll())
    assert process.poll() is None, log.read_text()[-3000:]
    task = Path(f'/proc/{process.pid}/task/{process.pid}')
    workers = [int(pid) for pid in (task / 'children').read_text().split()]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    assert process.wait(timeout=30) == 1
    said = f'DataLoader worker (pid {workers[0]}) is killed by signal: Killed'
    # Of a worker that dies while it hands over a batch, the other end of its
    # pipe may speak first.
    said = said, 'ConnectionResetError', 'EOFError'
    assert any(text in log.read_text() for text in said)
    # Nobody is left behind.
    wait_for(lambda: not Path(f'/proc/{workers[1]}').exists(), 30)


def test_memory_runs_out_in_a_worker(started):
    process, log = started(OUT_OF_MEMORY)
    assert process.wait(timeout=120) == 1
    assert 'Caught MemoryError in DataLoader worker process' in log.read_text()
    assert 'Unable to allocate 8 TiB' in log.read_text()


class Sleep(nn.Module):
    def statistics(self, pred, label, valid):
        time.sleep(60)


def test_a_process_that_scores_is_killed():
    workers = Workers(1)
    maps = [torch.zeros(1, 2, 2)] * 3
    workers.submit(ExactSum(), Sleep(), *maps)
    (process,) = workers._pool._processes
    os.kill(process, signal.SIGKILL)
    with pytest.raises(
        RuntimeError, match=r'MultiTaskMetric\.workers.* was killed'
    ):
        workers.finish()
