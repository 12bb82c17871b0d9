"""Two trainings in one folder: the second is refused."""

import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from mmprotomtl.engine import lock_run
from mmprotomtl.engine.run_lock import NAME, FolderInUseError
from mmprotomtl.utils.launch import launched_rank
from tests.conftest import ROOT

HOLD = """
import os, sys, time
from mmprotomtl.engine import lock_run
with lock_run(sys.argv[1]):
    if os.fork() == 0:  # A loader worker that outlives the run.
        time.sleep(60)
        os._exit(0)
    print('held', flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the lock of a folder, and a worker."""
    process = subprocess.Popen(
        [sys.executable, '-c', HOLD, str(tmp_path / 'run')],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': str(ROOT)}, start_new_session=True,
    )  # fmt: skip
    assert b'held\n' in iter(process.stdout.readline, b'')
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_the_second_is_refused_and_the_first_named(tmp_path, holder):
    work_dir = tmp_path / 'run'
    told = (
        rf'process {holder.pid} on {re.escape(socket.gethostname())} \(since '
        r'20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\) is training in this folder'
    )
    with pytest.raises(FolderInUseError, match=told), lock_run(work_dir):
        pass
    # Another process of the run that has the lock; and another folder.
    with lock_run(work_dir, is_main=False), lock_run(tmp_path / 'other'):
        pass
    # Killed, the process lets go, though its worker lives on.
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    os.killpg(holder.pid, 0)
    with lock_run(work_dir):
        said = json.loads((work_dir / NAME).read_text())
        assert said['pid'] == os.getpid()
        assert said['host'] == socket.gethostname()
        # MultiTaskRunner within tools/train.py.
        with lock_run(work_dir):
            pass
        assert json.loads((work_dir / NAME).read_text()) == said
    assert (work_dir / NAME).read_text() == ''


def test_training_is_refused_and_testing_is_not(tmp_path, tiny_config, tool):
    """The first run goes on as if nothing had happened."""
    work_dir = tmp_path / 'run'
    first = subprocess.Popen(
        [
            sys.executable, 'tools/train.py', str(tiny_config),
            '--work-dir', str(work_dir),
        ],
        cwd=ROOT, env={**os.environ, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.time() + 120
    while not (work_dir / 'epoch_1.pth').exists():
        assert time.time() < deadline and first.poll() is None
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGSTOP)
    before = sorted(path.name for path in work_dir.iterdir())
    (work_dir / '.epoch_2.pth.77').write_text('the first one writes this')
    done = tool(
        'tools/train.py', tiny_config, '--work-dir', work_dir, '--resume',
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f'process {first.pid} on ' in done.stdout.splitlines()[-1]
    after = sorted(path.name for path in work_dir.iterdir())
    assert after == sorted([*before, '.epoch_2.pth.77'])
    tool(
        'tools/test.py', tiny_config, work_dir / 'epoch_1.pth',
        '--work-dir', work_dir,
    )  # fmt: skip
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait() == 0
    assert (work_dir / 'epoch_3.pth').exists()


def test_a_file_system_without_locks(tmp_path, monkeypatch, capsys):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'lockf', no_locks)
    with lock_run(tmp_path):
        pass
    said = capsys.readouterr()
    assert 'No locks available: this file system' in said.out + said.err


def test_rank_of_a_launcher(monkeypatch):
    monkeypatch.setenv('RANK', '2')
    monkeypatch.setenv('SLURM_PROCID', '3')
    found = [launched_rank(name) for name in ('none', 'pytorch', 'slurm')]
    assert found == [0, 2, 3]
    assert launched_rank('mpi') == 0
