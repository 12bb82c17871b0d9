"""tools/check_dataset.py names pictures whose metadata is doubtful."""

import json
import runpy
import sys

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from tests.conftest import ROOT
from tests.test_readers.test_pictures import cv, pil

H, W = 16, 24
COLOURS = np.random.default_rng(0).integers(0, 256, (H, W, 3)).astype(np.uint8)
#: Half of it is blue enough for a mask that JPEG does not change.
HALVES = np.repeat([[0, 255]], H, 0).repeat(W // 2, 1).astype(np.uint8)
CLEAR = np.full((H, W, 1), 90, np.uint8)


def turned(by):
    exif = Image.Exif()
    exif[0x0112] = by
    return exif


#: File -> what is in it, what is said of it; None: nothing.
PHOTOS = {
    'plain.png': (pil('PNG', COLOURS), None),
    'plain.jpg': (pil('JPEG', COLOURS), None),
    'mirrored.jpg': (
        pil('JPEG', COLOURS, exif=turned(2)), 'EXIF orientation 2',
    ),
    'upside_down.png': (
        pil('PNG', COLOURS, exif=turned(3)), 'EXIF orientation 3',
    ),
    'deep.png': (
        cv('.png', COLOURS.astype(np.uint16) * 257), 'more than 8 bits',
    ),
    'deep_grey.png': (
        pil('PNG', COLOURS[..., 0].astype(np.uint16) * 257),
        'more than 8 bits',
    ),
    'alpha.png': (pil('PNG', np.dstack([COLOURS, CLEAR])), 'transparency'),
    'palette.png': (
        pil('PNG', COLOURS[..., 0] % 8, [i * 9 for i in range(24)]),
        'a palette: no more than 256 colours',
    ),
    'print.jpg': (pil('JPEG', COLOURS, mode='CMYK'), 'CMYK'),
}  # fmt: skip
LABELS = {
    'plain.png': (pil('PNG', HALVES), None),
    'mirrored.jpg': (pil('JPEG', HALVES), 'JPEG has changed the values'),
    'upside_down.png': (
        pil('PNG', HALVES, exif=turned(3)), 'EXIF orientation 3',
    ),
}  # fmt: skip
#: Those that cannot be used at all.
REFUSED = {
    'deep.png': (
        pil('PNG', np.dstack([COLOURS[..., :1], CLEAR])), 'transparent pixels',
    ),
}  # fmt: skip


@pytest.fixture
def config(tmp_path):
    root = tmp_path / 'mine'
    for folder, files in (
        ('images', PHOTOS), ('salient', {**LABELS, **REFUSED}),
    ):  # fmt: skip
        (root / folder).mkdir(parents=True)
        for name, (content, _) in files.items():
            (root / folder / name).write_bytes(content)
    (root / 'images/plain.jpg').rename(root / 'images/plain2.jpg')
    dataset = dict(
        type='ImageFolderMTDataset',
        data_root=str(root),
        tasks=dict(sal={}),
        folders=dict(sal=dict(folder='salient', scale=1 / 255, threshold=0.5)),
    )
    path = tmp_path / 'config.py'
    Config(
        dict(tasks=dict(sal={}), train_dataloader=dict(dataset=dataset))
    ).dump(path)
    return path


@pytest.fixture
def check(config, tmp_path, monkeypatch, capsys):
    """Runs the tool: exit code, report, text."""

    def run(*args):
        argv = ['check_dataset.py', config, '--json', tmp_path / 'a.json',
                '--workers', 1, *args]  # fmt: skip
        monkeypatch.setattr(sys, 'argv', list(map(str, argv)))
        with pytest.raises(SystemExit) as done:
            runpy.run_path(
                str(ROOT / 'tools/check_dataset.py'), run_name='__main__'
            )
        (report,) = json.loads((tmp_path / 'a.json').read_text())['datasets']
        return done.value.code, report, capsys.readouterr().out

    return run


def test_each_doubt_names_the_file(check, config):
    code, report, text = check()
    assert code == 1  # one label cannot be used
    found = {
        tuple(item['file'].split('/')[-2:]): item['problem']
        for item in report['warnings']
    }
    expected = {
        (folder, name): doubt
        for folder, files in (('images', PHOTOS), ('salient', LABELS))
        for name, (_, doubt) in files.items()
        if doubt is not None
    }
    assert set(found) == set(expected)
    for place, doubt in expected.items():
        assert doubt in found[place], place
        assert '/'.join(place) in text
    assert len(report['warnings']) == len(expected)
    errors = {
        item['file'].split('/')[-1]: item['problem']
        for item in report['errors']
    }
    assert set(errors) == set(REFUSED)
    for name, (_, problem) in REFUSED.items():
        assert problem in errors[name]


def test_strict(check, config):
    root = config.parent / 'mine'
    for name in REFUSED:
        (root / 'salient' / name).unlink()
    assert check()[0] == 0
    assert check('--strict')[0] == 1
