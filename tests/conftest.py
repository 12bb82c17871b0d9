import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmprotomtl.testing import tiny_run

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / 'shared' / 'data'


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """The real data that development and CI have; a user's machine not."""
    if not SHARED.is_dir():
        message = f'no real data beside the checkout ({SHARED})'
        if os.environ.get('CI'):
            pytest.fail(message)
        pytest.skip(message)
    return SHARED


@pytest.fixture(scope='session')
def nyuv2(shared_data, tmp_path_factory) -> Path:
    """Real NYU-v2 frames in the form of MTAN, with the published masks."""
    root = tmp_path_factory.mktemp('nyuv2')
    subprocess.run(
        [
            sys.executable, str(shared_data / 'expand_nyud.py'), str(root),
            '--layout', 'mtan', '--size', '48', '64',
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    for mask in (shared_data / 'partial_labels' / 'nyuv2').glob('*.pth'):
        (root / mask.name).write_bytes(mask.read_bytes())
    return root


@pytest.fixture(scope='session')
def tiny_config(tmp_path_factory) -> Path:
    """A config file of a run of seconds: all six tasks, 24 scenes."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run())
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    cfg.dump(path)
    return path


def tree(root: Path) -> dict:
    """File -> hash of its content."""
    return {
        str(path.relative_to(root)): hashlib.md5(path.read_bytes()).digest()
        for path in root.rglob('*')
        if path.is_file()
    }


@pytest.fixture
def tool():
    """Runs one of our tools as a user does; returns the finished process."""

    def run(*args, check=True, cwd=ROOT, **kwargs):
        # One thread: the tests of a machine with two cores run faster so.
        env = {**os.environ, 'OMP_NUM_THREADS': '1', **kwargs.pop('env', {})}
        done = subprocess.run(
            [sys.executable, *map(str, args)],
            cwd=cwd,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **kwargs,
        )
        assert not check or done.returncode == 0, done.stdout[-4000:]
        return done

    return run
