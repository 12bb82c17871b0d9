"""The launch scripts, against a stub ``srun`` and with real processes."""

import json
import os
import socket
import subprocess
import sys

import pytest

from tests.conftest import ROOT

STUB = """#!/usr/bin/env python3
import json, os, sys
names = ('MASTER_PORT', 'PYTHONPATH')
seen = dict(argv=sys.argv[1:], env={n: os.environ.get(n) for n in names})
json.dump(seen, open(os.environ['SEEN'], 'w'))
"""


@pytest.fixture
def seen(tmp_path, monkeypatch):
    """Runs a script beside a stub srun; returns what srun was given."""
    stub = tmp_path / 'srun'
    stub.write_text(STUB)
    stub.chmod(0o755)

    def run(script, *args, check=True, **env):
        done = subprocess.run(
            [ROOT / 'tools' / script, *args],
            env={
                **os.environ,
                'PATH': f'{tmp_path}:{os.environ["PATH"]}',
                'SEEN': str(tmp_path / 'seen.json'),
                **env,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        if not check:
            return done
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / 'seen.json').read_text())

    return run


def free_port() -> str:
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return str(server.getsockname()[1])


def test_slurm_train(seen):
    call = seen(
        'slurm_train.sh', 'gpu', 'my job', 'c.py', '--seed', '3',
        '--cfg-options', 'a=b c',
        GPUS='16', SRUN_ARGS='--time=1:00:00 --qos=high', MASTER_PORT='1234',
    )  # fmt: skip
    assert call['argv'] == [
        '--partition=gpu', '--job-name=my job', '--gres=gpu:8', '--ntasks=16',
        '--ntasks-per-node=8', '--cpus-per-task=5', '--kill-on-bad-exit=1',
        '--time=1:00:00', '--qos=high',
        'python', '-u', f'{ROOT}/tools/train.py', 'c.py',
        '--launcher', 'slurm', '--seed', '3', '--cfg-options', 'a=b c',
    ]  # fmt: skip
    assert call['env']['MASTER_PORT'] == '1234'
    assert call['env']['PYTHONPATH'].startswith(f'{ROOT}/tools/..')


def test_slurm_test(seen):
    call = seen('slurm_test.sh', 'p', 'j', 'c.py', 'e.pth', '--out', 'o',
                GPUS='2')  # fmt: skip
    assert call['argv'][2:5] == [
        '--gres=gpu:2', '--ntasks=2', '--ntasks-per-node=2',
    ]  # fmt: skip
    assert call['argv'][-7:] == [
        f'{ROOT}/tools/test.py', 'c.py', 'e.pth', '--launcher', 'slurm',
        '--out', 'o',
    ]  # fmt: skip
    assert 20000 <= int(call['env']['MASTER_PORT']) < 40000


@pytest.mark.parametrize(
    'script',
    ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'],
)
def test_too_few_arguments(seen, script):
    done = seen(script, 'one', check=False)
    assert done.returncode == 2
    assert f'tools/{script}' in done.stderr


def test_launcher_without_its_environment(tool, tiny_config, tmp_path):
    done = tool(
        ROOT / 'tools/train.py', tiny_config, '--launcher', 'slurm',
        '--work-dir', tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert 'SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID is not' in done.stdout


def test_two_tasks_of_slurm_and_dist_test(tiny_config, tmp_path):
    """Trains as Slurm starts it, tests with ``dist_test.sh``."""
    env = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'SLURM_NTASKS': '2',
        'SLURM_NODELIST': '127.0.0.1',
        'MASTER_PORT': free_port(),
    }
    tasks = [
        subprocess.Popen(
            [
                sys.executable, ROOT / 'tools/train.py', tiny_config,
                '--launcher', 'slurm', '--work-dir', tmp_path / 'run',
                '--cfg-options', 'train_cfg.max_epochs=1',
            ],
            env={**env, 'SLURM_PROCID': str(i), 'SLURM_LOCALID': str(i)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]  # fmt: skip
    logs = [task.communicate(timeout=300)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], logs
    # 24 scenes, 4 a batch, 2 processes: 3 steps an epoch.
    assert 'Epoch(train) [1][3/3]' in logs[0]
    done = subprocess.run(
        [
            ROOT / 'tools/dist_test.sh', tiny_config,
            tmp_path / 'run/epoch_1.pth', '2', '--work-dir', tmp_path / 'test',
        ],
        env={
            **os.environ,
            'OMP_NUM_THREADS': '1',
            'PATH': f'{os.path.dirname(sys.executable)}:{os.environ["PATH"]}',
            'PORT': free_port(),
        },
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / 'test/metrics.json').read_text())
    assert report['test_data']['images'] == 6
