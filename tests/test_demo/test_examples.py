"""The configs that docs/own_data.md shows, as a user runs them."""

import json
import runpy
import sys

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmprotomtl.apis import MultiTaskInferencer
from tests.conftest import ROOT

DEMO = ROOT / 'demo'
SMALL = [
    'model.backbone.stem_channels=8',
    'model.backbone.base_channels=8',
    'model.neck.channels=8',
    'model.neck.quantizer.num_codes=16',
    'model.neck.quantizer.code_dim=8',
    'model.neck.prototype_dim=8',
    'model.head.num_heads=2',
    'train_cfg.max_epochs=1',
    'train_cfg.val_interval=1',
    *(
        f'{loader}_dataloader.{key}'
        for loader in ('train', 'val', 'test')
        for key in ('num_workers=0', 'persistent_workers=False')
    ),
]
RNG = np.random.default_rng(0)


def pictures(folder, names, make):
    folder.mkdir(parents=True)
    for name in names:
        Image.fromarray(make(size_of(name))).save(folder / f'{name}.png')


def size_of(name):
    """Wide pictures and high ones."""
    return (48, 64) if int(str(name)[-1]) % 2 else (64, 48)


def photo(size):
    return RNG.integers(0, 256, (*size, 3)).astype(np.uint8)


def millimetres(size):
    return RNG.integers(1000, 4000, size).astype(np.uint16)


def classes(first, last):
    """In blocks: `size` of one class each."""

    def make(size):
        coarse = RNG.integers(first, last + 1, (size[0] // 8, size[1] // 8))
        return coarse.repeat(8, 0).repeat(8, 1).astype(np.uint8)

    return make


def salient(size):
    return classes(0, 1)(size) * 255


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Runs a tool in the folder that holds `data`."""
    monkeypatch.setattr(
        'yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)
    )
    monkeypatch.chdir(tmp_path)

    def run(name, *args):
        argv = [name, *map(str, args)]
        monkeypatch.setattr(sys, 'argv', argv)
        runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')

    return run


def train_and_test(cli, name, tmp_path):
    config = DEMO / f'{name}.py'
    with pytest.raises(SystemExit) as done:
        cli('check_dataset.py', config, '--json', 'check.json')
    assert done.value.code == 0
    cli('train.py', config, '--cfg-options', *SMALL)
    weights = tmp_path / f'work_dirs/{name}/epoch_1.pth'
    cli('test.py', config, weights, '--work-dir', 'tested', '--out', 'out',
        '--show-dir', 'show', '--cfg-options', *SMALL)  # fmt: skip
    return json.loads((tmp_path / 'tested/metrics.json').read_text()), weights


def test_own_data(cli, tmp_path):
    names = [f'photo {i}' for i in range(10)]
    root = tmp_path / 'data/mine'
    pictures(root / 'images', names, photo)
    pictures(root / 'masks', names[::2], classes(0, 8))
    pictures(root / 'depth', names[1::2], millimetres)
    # One has labels of both tasks; it is the one that is held out.
    held = names[np.random.default_rng(0).permutation(10)[0]]
    for folder, make in (('masks', classes(1, 8)), ('depth', millimetres)):
        path = root / f'{folder}/{held}.png'
        Image.fromarray(make(size_of(held))).save(path)
    report, _ = train_and_test(cli, 'own_data', tmp_path)
    assert report['label_mask']['protocol'] == 'as-on-disk'
    assert sum(report['label_mask']['labels'].values()) == 11
    assert report['test_data']['images'] == 1
    assert 0 <= report['metrics']['semseg/mIoU'] <= 100
    assert 0 < report['metrics']['depth/RMSE'] < 100
    assert [p.name for p in (tmp_path / 'show').iterdir()] == [f'{held}.png']


def test_several_datasets(cli, tmp_path):
    labels = dict(
        rooms=('depth', millimetres),
        streets=('masks', classes(0, 18)),
        photos=('salient', salient),
    )
    for name, (folder, make) in labels.items():
        for split, number in (('train', 6), ('test', 2)):
            root = tmp_path / 'data' / name / split
            pictures(root / 'images', range(number), photo)
            pictures(root / folder, range(number), make)
    report, weights = train_and_test(cli, 'several_datasets', tmp_path)
    mask = report['label_mask']
    kept = (np.random.default_rng([0, *b'semseg']).random(6) < 0.5).sum()
    assert 0 < kept < 6
    assert mask['labels'] == dict(depth=6, sal=6, semseg=kept)
    assert [
        (part['protocol'], part['seed'], sum(part['labels'].values()))
        for part in mask['parts']
    ] == [('as-on-disk', None, 6), ('ratio', 0, kept), ('as-on-disk', None, 6)]
    assert report['test_data']['images'] == 6
    for key in ('depth/RMSE', 'semseg/mIoU', 'sal/maxF'):
        assert np.isfinite(report['metrics'][key]), key
    names = {path.stem for path in (tmp_path / 'show').iterdir()}
    assert names == {f'{part}-{i}' for part in range(3) for i in range(2)}
    # The checkpoint alone says how a picture is prepared.
    infer = MultiTaskInferencer(weights=str(weights))
    maps = infer(photo((48, 64)))['predictions'][0]
    assert {task: part.shape for task, part in maps.items()} == dict(
        depth=(1, 48, 64), semseg=(1, 48, 64), sal=(1, 48, 64)
    )


@pytest.mark.parametrize('name', ['own_data', 'several_datasets'])
def test_the_documentation_shows_them(name):
    config = (DEMO / f'{name}.py').read_text()
    assert f'```python\n{config}```' in (ROOT / 'docs/own_data.md').read_text()
    assert Config.fromfile(DEMO / f'{name}.py').tasks
