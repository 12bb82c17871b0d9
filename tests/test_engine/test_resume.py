"""A run that was killed ends with the weights of one that was not."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
# The order of a sum, and with it the last bit, depends on the threads.
ENV = {**os.environ, 'OMP_NUM_THREADS': '1'}


def steps(work_dir):
    """Losses of each training step, the last time that it was run."""
    found = {}
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            entry = json.loads(line)
            if 'loss' in entry:
                found[entry['step']] = {
                    key: value for key, value in entry.items() if '.' in key
                }
    return found


def weights(work_dir, epoch):
    state = torch.load(work_dir / f'epoch_{epoch}.pth', weights_only=False)
    return state['state_dict']


@pytest.fixture(scope='module')
def undisturbed(tiny_config, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('straight')
    subprocess.run(
        [
            sys.executable, 'tools/train.py', str(tiny_config),
            '--work-dir', str(work_dir),
        ],
        cwd=ROOT, env=ENV, check=True, capture_output=True,
    )  # fmt: skip
    return work_dir


def same(a, b):
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert torch.equal(value, b[key]), key


def test_kill_and_resume(undisturbed, tiny_config, tool, tmp_path):
    process = subprocess.Popen(
        [
            sys.executable, 'tools/train.py', str(tiny_config),
            '--work-dir', str(tmp_path),
        ],
        cwd=ROOT, env=ENV, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.time() + 120
    while not (tmp_path / 'last_checkpoint').exists():
        assert time.time() < deadline and process.poll() is None
        time.sleep(0.01)
    # Its loader workers too: they may wait for it for ever.
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / 'epoch_3.pth').exists()
    tool(
        'tools/train.py', str(tiny_config), '--work-dir', tmp_path, '--resume',
    )  # fmt: skip
    same(weights(tmp_path, 3), weights(undisturbed, 3))
    expected, got = steps(undisturbed), steps(tmp_path)
    assert sorted(expected) == list(range(1, 19))
    for step in range(13, 19):
        assert got[step] == expected[step], step


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MB."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    options = ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', str(disk)]
    done = subprocess.run(['mount', *options], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f'only root makes a small disk: {done.stderr.strip()}')
    yield disk
    subprocess.run(['umount', '-l', str(disk)], check=True)


def test_a_full_disk(undisturbed, tiny_config, tool, small_disk):
    """Two checkpoints of 3.1 MB fit, the third does not; then there is no
    room for a log either.
    """
    work_dir = small_disk / 'run'
    command = ('tools/train.py', tiny_config, '--work-dir', work_dir)
    done = tool(*command, check=False)
    assert done.returncode == 1
    *_, last = done.stdout.strip().splitlines()
    assert last.startswith(
        f'{work_dir}/epoch_3.pth: No space left on device; 3.1 MB could not '
        'be written'
    )
    good = work_dir / 'epoch_2.pth'
    assert f'good checkpoint is {good}; make room and go on with' in last
    assert not list(work_dir.glob('.epoch*'))
    same(weights(work_dir, 2), weights(undisturbed, 2))
    filler = (small_disk / 'filler').open('wb', buffering=0)
    with filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(2**12))
    done = tool(*command, '--resume', check=False)
    assert done.returncode == 1
    *_, last = done.stdout.strip().splitlines()
    assert last.startswith(f'{work_dir}: No space left on device. The last')
    same(weights(work_dir, 2), weights(undisturbed, 2))


def test_workers_do_not_change_the_data(
    undisturbed, tiny_config, tool, tmp_path
):
    tool(
        'tools/train.py', tiny_config, '--work-dir', tmp_path,
        '--cfg-options',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
    )  # fmt: skip
    same(weights(tmp_path, 3), weights(undisturbed, 3))


def test_seed_changes_the_run(undisturbed, tiny_config, tool, tmp_path):
    tool('tools/train.py', tiny_config, '--work-dir', tmp_path, '--seed', 5)
    a, b = weights(tmp_path, 3), weights(undisturbed, 3)
    assert not torch.equal(a['neck.prototypes'], b['neck.prototypes'])
    found = torch.load(tmp_path / 'epoch_3.pth', weights_only=False)['meta']
    assert found['seed'] == 5


def test_log_shows_what_the_method_does(undisturbed):
    (log,) = undisturbed.glob('*/*.log')
    text = log.read_text()
    for word in (
        'eta:', 'semseg.loss:', 'edge.loss:', 'tae.loss:', 'tke.loss:',
        'tc.loss:', 'codebook_usage:', 'codebook_perplexity:',
        'mean affinity', 'protocol one-label, seed 0',
    ):  # fmt: skip
        assert word in text, word
    (scalars,) = undisturbed.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    (*_, last) = [row for row in rows if 'affinity/sal/edge' in row]
    shares = [v for k, v in last.items() if k.startswith('affinity/sal/')]
    assert len(shares) == 6
    assert sum(shares) == pytest.approx(1, abs=1e-4)
