"""From files in the official form of Cityscapes to our data set."""

import json
import runpy
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from mmprotomtl.converters import convert_cityscapes
from mmprotomtl.datasets import CityscapesMTDataset
from mmprotomtl.datasets.check import check_config
from mmprotomtl.datasets.cityscapes import CLASSES
from mmprotomtl.utils.errors import DataFileError
from tests.conftest import ROOT, tree

PIPELINE = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
]

#: The official classes 0 .. 33: name, category (None: not evaluated).
OFFICIAL = (
    *((name, None) for name in (
        'unlabeled', 'ego vehicle', 'rectification border', 'out of roi',
        'static', 'dynamic', 'ground',
    )),
    ('road', 'flat'), ('sidewalk', 'flat'), ('parking', None),
    ('rail track', None), ('building', 'construction'),
    ('wall', 'construction'), ('fence', 'construction'),
    ('guard rail', None), ('bridge', None), ('tunnel', None),
    ('pole', 'object'), ('polegroup', None), ('traffic light', 'object'),
    ('traffic sign', 'object'), ('vegetation', 'nature'),
    ('terrain', 'nature'), ('sky', 'sky'), ('person', 'human'),
    ('rider', 'human'), ('car', 'vehicle'), ('truck', 'vehicle'),
    ('bus', 'vehicle'), ('caravan', None), ('trailer', None),
    ('train', 'vehicle'), ('motorcycle', 'vehicle'), ('bicycle', 'vehicle'),
)  # fmt: skip
#: In an order that is not the sorted one.
FRAMES = {
    'train': ['ulm_000001_000019', 'aachen_000002_000019',
              'aachen_000000_000019'],
    'val': ['munster_000000_000019', 'lindau_000003_000019'],
}  # fmt: skip


@pytest.fixture(scope='module')
def official(tmp_path_factory):
    """Two or three cities of 32 x 64 pixels instead of 1024 x 2048."""
    root = tmp_path_factory.mktemp('official')
    rng = np.random.default_rng(0)
    for split, frames in FRAMES.items():
        for frame in frames:
            label = np.kron(
                rng.permutation(32 * 8)[:128].reshape(8, 16) % 34,
                np.ones((4, 4)),
            ).astype(np.uint8)
            disparity = rng.integers(0, 32258, (32, 64)).astype(np.uint16)
            disparity[:4] = (0, 1) * 32
            disparity[9, 1] = 32257
            image = rng.integers(0, 256, (32, 64, 3)).astype(np.uint8)
            for folder, ending, array in (
                ('leftImg8bit', 'leftImg8bit', image),
                ('gtFine', 'gtFine_labelIds', label),
                ('gtFine', 'gtFine_instanceIds', label.astype(np.uint16)),
                ('disparity', 'disparity', disparity),
            ):
                path = root / folder / split / frame.split('_')[0]
                path.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path / f'{frame}_{ending}.png')
    return root


@pytest.fixture(scope='module')
def converted(official, tmp_path_factory):
    out = tmp_path_factory.mktemp('cityscapes')
    convert_cityscapes(official, out, (8, 16), workers=1)
    return out


def stored(root, split, frame, folder, ending):
    city = frame.split('_')[0]
    return np.asarray(
        Image.open(root / folder / split / city / f'{frame}_{ending}.png')
    )


@pytest.mark.parametrize('number', [7, 19])
@pytest.mark.parametrize('split', FRAMES)
def test_values(official, converted, number, split):
    data = CityscapesMTDataset(
        num_classes=number,
        data_root=str(converted),
        split=split,
        pipeline=PIPELINE,
        test_mode=split == 'val',
    )
    assert len(data) == len(FRAMES[split])
    seen = set()
    for item, frame in zip(data, sorted(FRAMES[split]), strict=True):
        image = stored(official, split, frame, 'leftImg8bit', 'leftImg8bit')
        mean = image.reshape(8, 4, 16, 4, 3).mean((1, 3))
        assert np.abs(item['img'][..., ::-1] - mean).max() < 1.1
        label = stored(official, split, frame, 'gtFine', 'gtFine_labelIds')
        semseg = item['gt_maps']['semseg']
        for official_class, (name, category) in enumerate(OFFICIAL):
            found = semseg[label[::4, ::4] == official_class]
            seen.update(found.tolist())
            if category is None:
                assert (found == 255).all()
            else:
                text = category if number == 7 else name
                assert (found == CLASSES[number].index(text)).all()
        raw = stored(official, split, frame, 'disparity', 'disparity')
        # Of 4 x 4 pixels, one that lies in the middle.
        depth = item['gt_maps']['depth']
        choices = np.stack([raw[y::4, x::4] for y in (1, 2) for x in (1, 2)])
        expected = np.where(choices > 0, (choices - 1.0) / 65536, 0)
        assert (np.abs(expected - depth).min(0) < 1e-7).all()
        assert depth.max() < 126 / 256 + 1e-6 and not depth[0].any()
    assert seen == {*range(number), 255}


def test_the_largest_published_value(official, tmp_path):
    """MTAN's files reach .4922 where the official ones reach 32257."""
    out = tmp_path / 'out'
    convert_cityscapes(official, out, (32, 64), workers=1)
    depth = np.load(out / 'train/depth/0.npy')
    assert depth.shape == (32, 64, 1) and depth.dtype == np.float32
    assert abs(depth.max() - 0.4922) < 5e-5
    label = np.load(out / 'train/label_7/0.npy')
    assert label.min() == -1 and label.max() == 6
    assert label.dtype == np.float32


def test_record_and_check(converted):
    record = json.loads((converted / 'conversion.json').read_text())
    assert record['images']['train'] == [
        'aachen/aachen_000000_000019',
        'aachen/aachen_000002_000019',
        'ulm/ulm_000001_000019',
    ]
    dataset = dict(type='CityscapesMTDataset', data_root=str(converted))
    cfg = dict(
        train_dataloader=dict(dataset=dict(dataset)),
        test_dataloader=dict(dataset=dict(dataset, split='val')),
    )
    for report in check_config(cfg, workers=1):
        assert report['errors'] == []
        problems = [w['problem'] for w in report['warnings']]
        assert len(problems) == 1 and 'published were' in problems[0]


@pytest.fixture
def copy(official, tmp_path):
    shutil.copytree(official, tmp_path / 'official')
    return tmp_path / 'official'


def test_stopped_by_a_damaged_file_and_gone_on(copy, converted, tmp_path):
    out = tmp_path / 'out'
    path = copy / 'disparity/train/ulm/ulm_000001_000019_disparity.png'
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    with pytest.raises(DataFileError, match='cannot be read') as caught:
        convert_cityscapes(copy, out, (8, 16), workers=1)
    assert str(path) in str(caught.value)
    assert (out / 'train/image/1.npy').is_file()
    assert not (out / 'train/image/2.npy').exists()
    path.write_bytes(content)
    convert_cityscapes(copy, out, (8, 16), workers=1)
    assert tree(out) == tree(converted)


def test_missing_files_are_named(copy, tmp_path):
    out = tmp_path / 'out'
    gone = sorted((copy / 'disparity/train').rglob('*.png'))
    gone[1].unlink()
    with pytest.raises(
        DataFileError, match='1 of 3 images of train'
    ) as caught:
        convert_cityscapes(copy, out)
    assert str(caught.value).startswith(str(gone[1]))
    assert 'have no disparity' in str(caught.value)
    for path in (copy / 'leftImg8bit/train').rglob('*.png'):
        path.unlink()
    with pytest.raises(DataFileError, match='no image CITY'):
        convert_cityscapes(copy, out)
    shutil.rmtree(copy / 'disparity')
    with pytest.raises(DataFileError, match='disparity_trainvaltest.zip'):
        convert_cityscapes(copy, out)
    assert not out.exists()


def test_command_line(copy, converted, tmp_path, monkeypatch, capsys):
    tool = ROOT / 'tools/dataset_converters/cityscapes.py'
    out = tmp_path / 'out'
    args = [tool, copy, out, '--size', 8, 16, '--workers', 1]
    monkeypatch.setattr(sys, 'argv', list(map(str, args)))
    runpy.run_path(str(tool), run_name='__main__')
    assert tree(out) == tree(converted)
    assert 'train: 3 images (published: 2975)' in capsys.readouterr().out
    shutil.rmtree(copy / 'gtFine')
    with pytest.raises(SystemExit, match='refused: .*gtFine_trainvaltest'):
        runpy.run_path(str(tool), run_name='__main__')


@pytest.mark.parametrize(
    ('file', 'array', 'problem'),
    [
        ('disparity', np.zeros((32, 64), np.uint8), 'of uint16'),
        ('disparity', np.zeros((32, 60), np.uint16), 'image has .32, 64'),
        ('gtFine_labelIds', np.full((32, 64), 34, np.uint8), '34; labelIds'),
        ('gtFine_labelIds', np.zeros((32, 64, 3), np.uint8), 'H x W'),
    ],
)  # fmt: skip
def test_files_that_are_something_else(copy, tmp_path, file, array, problem):
    folder = file.split('_')[0]
    path = copy / folder / f'train/ulm/ulm_000001_000019_{file}.png'
    Image.fromarray(array).save(path)
    with pytest.raises(DataFileError, match=problem) as caught:
        convert_cityscapes(copy, tmp_path / 'out', workers=1)
    assert str(path) in str(caught.value)
