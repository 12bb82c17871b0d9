"""The launch scripts, against a stub ``srun`` and with real processes."""

import json
import os
import socket
import subprocess
import sys

import pytest

from mmprotomtl.utils import launch
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


TASKS = """#!{python}
import os, subprocess, sys
options = [a for a in sys.argv[1:] if a.startswith('--')]
number = next(a.split('=')[1] for a in options if a.startswith('--ntasks='))
command = sys.argv[sys.argv.index('python'):]
env = dict(os.environ, SLURM_NTASKS=number, SLURM_NODELIST='127.0.0.1')
tasks = [
    subprocess.Popen(
        [sys.executable, *command[1:]],
        env=dict(env, SLURM_PROCID=str(i), SLURM_LOCALID=str(i)),
    )
    for i in range(int(number))
]
sys.exit(max(task.wait() for task in tasks))
"""


def test_two_tasks_of_slurm_and_two_nodes(tiny_config, tmp_path):
    """Trains by ``slurm_train.sh``, with a stand-in for srun that starts the
    tasks; tests by ``dist_test.sh``, as on two machines.
    """
    stub = tmp_path / 'srun'
    stub.write_text(TASKS.format(python=sys.executable))
    stub.chmod(0o755)
    python = os.path.dirname(sys.executable)
    env = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'PATH': f'{tmp_path}:{python}:{os.environ["PATH"]}',
    }
    done = subprocess.run(
        [
            ROOT / 'tools/slurm_train.sh', 'cpu', 'job', tiny_config,
            '--work-dir', tmp_path / 'run', '--amp', 'bfloat16',
            '--cfg-options', 'train_cfg.max_epochs=1',
        ],
        env={**env, 'GPUS': '2', 'MASTER_PORT': free_port()},
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # 24 scenes, 4 a batch, 2 processes: 3 steps an epoch.
    assert 'Epoch(train) [1][3/3]' in done.stdout
    assert "type='BFloat16OptimWrapper'" in done.stdout
    env |= {'NNODES': '2', 'PORT': free_port()}
    nodes = [
        subprocess.Popen(
            [
                ROOT / 'tools/dist_test.sh', tiny_config,
                tmp_path / 'run/epoch_1.pth', '1',
                '--work-dir', tmp_path / 'test',
            ],
            env={**env, 'NODE_RANK': str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    logs = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], logs
    report = json.loads((tmp_path / 'test/metrics.json').read_text())
    assert report['test_data']['images'] == 6
    # Two processes share out six images in batches of four.
    assert 'Epoch(test) [1/1]' in logs[0]


def test_the_host_of_rank_0(monkeypatch, tmp_path):
    monkeypatch.setenv('SLURM_NODELIST', 'node7')
    assert launch._first_node() == 'node7'
    monkeypatch.setenv('SLURM_NODELIST', 'node[3-5],b1')
    stub = tmp_path / 'scontrol'
    stub.write_text(
        '#!/bin/sh\n[ "$*" = "show hostnames node[3-5],b1" ] && '
        'printf "node3\\nnode4\\nnode5\\nb1\\n"\n'
    )
    stub.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    assert launch._first_node() == 'node3'
