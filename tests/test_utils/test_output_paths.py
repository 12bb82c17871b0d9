"""Output files stay in their folder, and are whole or not there."""

import os
import resource
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmprotomtl.engine import MultiTaskVisualizationHook, SavePredictionsHook
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.tasks import build_tasks
from mmprotomtl.utils.files import output_path, write_bytes
from mmprotomtl.visualization import MultiTaskLocalVisualizer, write_picture
from tests.conftest import tree

LEADS_OUT = ['../x', 'a/../../x', '/x', '..', '.', '', 'a//b', 'a/', 'a\0b',
             'a\nb', './x']  # fmt: skip
TASKS = build_tasks(dict(depth={}, sal={}))


@pytest.fixture
def model():
    return SimpleNamespace(tasks=TASKS)


def sample(sample_id):
    maps = dict(depth=torch.ones(1, 8, 8), sal=torch.ones(1, 8, 8) / 2)
    return MultiTaskDataSample(
        metainfo=dict(sample_id=sample_id), pred_maps=PixelData(**maps)
    )


def save(hook, model, sample_id):
    runner = SimpleNamespace(
        model=model, visualizer=MultiTaskLocalVisualizer(tasks=TASKS)
    )
    hook.handle(
        runner, torch.zeros(3, 8, 8, dtype=torch.uint8), sample(sample_id)
    )


@pytest.mark.parametrize('name', LEADS_OUT)
@pytest.mark.parametrize(
    'hook', [SavePredictionsHook, MultiTaskVisualizationHook]
)
def test_an_id_that_leads_out_is_refused(hook, name, model, tmp_path):
    with pytest.raises(ValueError, match='sample id .* cannot name a file'):
        save(hook(str(tmp_path / 'out')), model, name)
    assert not tree(tmp_path)


@pytest.mark.parametrize('name', ['a', 'aachen/0001.left', 'ü b', '..a', 'C:'])
def test_an_id_that_stays_inside(name, model, tmp_path):
    save(SavePredictionsHook(str(tmp_path / 'out')), model, name)
    save(MultiTaskVisualizationHook(str(tmp_path / 'show')), model, name)
    assert set(tree(tmp_path)) == {
        f'out/depth/{name}.npy', f'out/sal/{name}.png', f'show/{name}.png',
    }  # fmt: skip


@pytest.mark.parametrize('sign', ['x', 'ä', '語'])
def test_long_ids(sign, model, tmp_path):
    """File systems allow names of 255 bytes; two ids never get one name."""
    out = str(tmp_path)
    for name in (sign * 252, sign * 251 + 'y'):
        save(SavePredictionsHook(out), model, name)
        save(MultiTaskVisualizationHook(out), model, name)
    files = sorted(tmp_path.rglob('*.*'))
    assert len(files) == 6
    assert all(file.name.startswith(sign * 50) for file in files)
    saved = np.load(next(tmp_path.glob('depth/*.npy')))
    assert np.array_equal(saved, np.ones((1, 8, 8)))
    short = 'x' * 196
    assert output_path(out, short, '.npy') == tmp_path / f'{short}.npy'


def test_pictures_are_written_at_once(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    picture = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    write_picture(path, picture)
    assert np.array_equal(cv2.imread(str(path))[..., ::-1], picture)
    before = path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'replace', killed)
    with pytest.raises(KeyboardInterrupt):
        write_picture(path, picture + 1)
    for task in TASKS.values():
        with pytest.raises(KeyboardInterrupt):
            task.save(np.ones((1, 8, 8)), str(tmp_path / 'b'))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.glob('[!.]*')] == ['a.png']


def full_disk():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


@pytest.mark.parametrize('name', ['depth', 'sal', 'picture'])
def test_a_full_disk_names_the_file(name, tmp_path):
    code = (
        'import signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
        'import numpy as np\n'
        'from mmprotomtl.tasks import build_tasks\n'
        'from mmprotomtl.visualization import write_picture\n'
        'value = np.random.rand(1, 64, 64)\n'
        f'if {name!r} == "picture":\n'
        '    write_picture("a.png", np.repeat(value[0, ..., None] * 255, 3, 2)'
        '.astype("uint8"))\n'
        'else: build_tasks({sys.argv[1]: {}})[sys.argv[1]].save(value, "a")\n'
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code, name],
        cwd=tmp_path, preexec_fn=full_disk, capture_output=True, text=True,
        env={**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'},
    )  # fmt: skip
    ending = 'npy' if name == 'depth' else 'png'
    last = done.stderr.strip().splitlines()[-1]
    assert 'OSError' in last and f"'a.{ending}'" in last, done.stderr
    assert 'MB could not be written' in last
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['../x', '/x'])
def test_backends_get_no_name_that_leads_out(name, tmp_path):
    visualizer = MultiTaskLocalVisualizer(
        tasks=TASKS, save_dir=str(tmp_path / 'run'),
        vis_backends=[dict(type='LocalVisBackend')],
    )  # fmt: skip
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match='cannot name a file'):
        visualizer.add_datasample(name, image, sample('a'))
    visualizer.add_datasample('b', image, sample('a'))
    assert [p.name for p in tmp_path.rglob('*.png')] == ['b_0.png']


def test_a_name_as_long_as_the_file_system_allows(tmp_path):
    write_bytes(tmp_path / ('x' * 255), b'x')
    assert (tmp_path / ('x' * 255)).read_bytes() == b'x'


def test_write_bytes_makes_the_folder(tmp_path):
    write_bytes(tmp_path / 'a/b/c', b'x')
    assert (tmp_path / 'a/b/c').read_bytes() == b'x'
