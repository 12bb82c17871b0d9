"""A user without rights, whose data may be read and not be changed.

Where the tests run as root, whom no right is refused, the tools run as nobody
(user 65534). Besides what the system refuses, an audit hook notes every try to
write below the data, one too that the code would pass over in silence.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from mmprotomtl.testing import PLAIN, tiny_cfg
from tests.conftest import ROOT
from tests.test_tools import test_every_dataset as every
from tests.test_tools.test_every_dataset import SAMPLES, small, use

folders = every.folders
NOBODY = 65534
#: Trains and tests in one process; writes what came of each command.
CHILD = """
import json, os, runpy, sys
from yapf.yapflib import yapf_api

data, commands = sys.argv[1], json.loads(sys.argv[2])
tried = os.open('tried.txt', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
OTHERS = {
    'os.mkdir', 'os.rename', 'os.remove', 'os.rmdir', 'os.link', 'os.symlink',
    'os.truncate', 'os.utime', 'os.chmod', 'os.chown', 'os.setxattr',
    'tempfile.mkstemp', 'tempfile.mkdtemp', 'sqlite3.connect',
}

def watch(event, args):
    if event not in OTHERS and not (event == 'open' and args[2] & CHANGES):
        return
    for value in args:
        if isinstance(value, (str, bytes, os.PathLike)):
            path = os.path.abspath(os.fsdecode(value))
            if path.startswith(data):
                os.write(tried, f'{event} {path}\\n'.encode())

sys.addaudithook(watch)
# mmengine formats every config five times, which takes most of the time.
yapf_api.FormatCode = lambda text, **_: (text, True)
ended = []
for argv in commands:
    sys.argv = argv
    try:
        runpy.run_path(argv[0], run_name='__main__')
        ended.append(None)
    except BaseException as error:
        ended.append(f'{type(error).__name__}: {error}')
with open('ended.json', 'w') as file:
    json.dump(ended, file)
"""


def reachable(path):
    """Whether another user may read what is in a folder."""
    path = Path(path).resolve()
    need = stat.S_IROTH | stat.S_IXOTH
    return path.stat().st_mode & need == need and all(
        part.stat().st_mode & stat.S_IXOTH for part in path.parents
    )


def as_user():
    """What starts a command as a user without rights."""
    if os.geteuid() != 0:
        return []
    if shutil.which('setpriv') is None:
        pytest.skip('of root, only setpriv (util-linux) makes another user')
    user = [f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups']
    if not all(map(reachable, (ROOT, sys.prefix, sys.base_prefix))):
        # A Python in the home of root: the right to read, and no other.
        read = '+dac_read_search'
        user += [f'--inh-caps={read}', f'--ambient-caps={read}']
    return ['setpriv', *user]


@pytest.fixture
def place():
    """A folder of the other user (pytest's own are closed to others)."""
    owner = NOBODY if os.geteuid() == 0 else os.geteuid()
    folder = Path(tempfile.mkdtemp(prefix='read-only-'))
    folder.chmod(0o755)
    (folder / 'mine').mkdir()
    os.chown(folder / 'mine', owner, -1)
    yield folder
    for path, _, _ in os.walk(folder):
        os.chmod(path, 0o755)
    shutil.rmtree(folder)


def lock_up(folder):
    """Take the right to write away from everybody."""
    for path in [folder, *folder.rglob('*')]:
        mode = 0o555 if path.is_dir() else 0o444
        path.chmod(mode)


def run_as_user(place, commands):
    """What came of each command of the other user; None: it ended well."""
    argv = [[str(ROOT / 'tools' / tool), *map(str, args)]
            for tool, *args in commands]  # fmt: skip
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    # The home of nobody is not there; nor do caches of other users help.
    env.update(HOME=str(place / 'no home'))
    env.pop('XDG_CACHE_HOME', None)
    done = subprocess.run(
        [*as_user(), sys.executable, '-c', CHILD, place / 'data',
         json.dumps(argv)],
        cwd=place / 'mine', env=env, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    ended = json.loads((place / 'mine/ended.json').read_text())
    assert (place / 'mine/tried.txt').read_text() == '', done.stdout[-4000:]
    return ended


def configs(place, folders, shared_data):
    """Tiny runs on data sets below ``data``: name -> file."""
    data, found = place / 'data', {}
    for name in ('NYUv2', 'PASCAL'):
        config, folder, _ = SAMPLES[name]
        root = data / name
        shutil.copytree(shared_data / 'layouts' / folder, root)
        found[name] = small(config)
        use(found[name], data_root=str(root))
    # Which reads who has people in it, and would like to note it.
    part = found['PASCAL'].train_dataloader.dataset
    part.partial_labels = dict(protocol='budget', budget=1, seed=0)
    shutil.copytree(folders['data_root'], data / 'folders')
    found['folders'] = small(SAMPLES['NYUDv2'][0])
    found['folders'].tasks = folders['tasks']
    given = dict(folders, data_root=str(data / 'folders'))
    given.pop('tasks')
    use(found['folders'], **given)
    for name, cfg in found.items():
        for key in ('dataloader', 'evaluator', 'cfg'):
            cfg.pop(f'val_{key}', None)
        cfg.train_dataloader.update(num_workers=1)
        cfg.model = tiny_cfg(**PLAIN)
        del cfg.model['tasks']
        step = dict(type='MultiTaskResize', scale=(64, 64))
        cfg.train_dataloader.dataset.pipeline.insert(-1, step)
        cfg.dump(place / f'{name}.py')
    lock_up(data)
    return {name: place / f'{name}.py' for name in found}


def test_read_only_data(place, folders, shared_data):
    """Training and testing leave them alone, and do not even try."""
    files = configs(place, folders, shared_data)
    commands = []
    for name, config in files.items():
        work_dir = place / 'mine' / name
        commands.append(['train.py', config, '--work-dir', work_dir])
        commands.append(
            ['test.py', config, work_dir / 'epoch_1.pth', '--work-dir',
             work_dir / 'test', '--out', work_dir / 'out']
        )  # fmt: skip
    assert run_as_user(place, commands) == [None] * 6
    for name in files:
        work_dir = place / 'mine' / name
        report = json.loads((work_dir / 'test/metrics.json').read_text())
        assert report['metrics'] and report['test_data']['images'] >= 2
        assert any((work_dir / 'out').rglob('*.*'))
        owner = (work_dir / 'epoch_1.pth').stat().st_uid
        assert owner == (place / 'mine').stat().st_uid


def test_a_folder_that_can_not_be_written(place, tiny_config):
    """Is refused by name, before any data are looked for."""
    closed, mine = place / 'closed', place / 'mine'
    closed.mkdir()
    lock_up(closed)
    config = place / 'config.py'
    shutil.copy(tiny_config, config)
    config.chmod(0o444)
    # Is not reached: there is no such checkpoint, and no such data.
    broken = '--cfg-options', 'train_dataloader.dataset.type=NoSuchDataset'
    whole = mine / 'any.pth'
    torch.save(dict(state_dict={}), whole)
    whole.chmod(0o444)
    commands = [
        ['train.py', config, '--work-dir', closed, *broken],
        ['train.py', config, '--work-dir', closed / 'new', *broken],
        ['train.py', config, '--resume', '--work-dir', closed, *broken],
        ['test.py', config, whole, '--work-dir', closed / 'new'],
        ['test.py', config, whole, '--work-dir', mine, '--out', closed],
        ['test.py', config, whole, '--work-dir', mine, '--show-dir', closed],
    ]  # fmt: skip
    ended = run_as_user(place, commands)
    settings = ['--work-dir'] * 4 + ['--out', '--show-dir']
    for command, said, setting in zip(commands, ended, settings, strict=True):
        folder = closed / 'new' if closed / 'new' in command else closed
        assert said == (
            'PermissionError: [Errno 13] Permission denied: nothing can be '
            f'written there; give another folder by {setting}: '
            f"'{folder}'"
        )
