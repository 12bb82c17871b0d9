"""From files in the official form of NYU-Depth V2 to our data sets."""

import json
import runpy
import shutil
import signal
import subprocess
import sys
import time
import warnings

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmprotomtl.converters import convert_nyuv2
from mmprotomtl.converters.nyuv2 import CAMERA
from mmprotomtl.converters.nyuv2_classes import (
    FURNITURE,
    STRUCTURE,
    THIRTEEN,
    forty_classes,
)
from mmprotomtl.datasets import NYUDv2Dataset, NYUv2Dataset
from mmprotomtl.datasets.check import check_config
from mmprotomtl.datasets.nyudv2 import CLASSES as FORTY
from mmprotomtl.datasets.nyuv2 import CLASSES as NAMES13
from mmprotomtl.utils.camera import normals_from_depth
from mmprotomtl.utils.errors import DataFileError
from tests.conftest import ROOT, tree

OFFICIAL = ('nyu_depth_v2_labeled.mat', 'splits.mat')
TOOL = ROOT / 'tools/dataset_converters/nyuv2.py'

#: Official numbers of labels that have the name of a class.
LABELS = {
    3: 'cabinet', 4: 'ceiling', 5: 'chair', 7: 'counter', 11: 'floor',
    15: 'paper', 19: 'table', 21: 'wall', 24: 'sink', 26: 'box', 28: 'door',
    36: 'desk', 42: 'shelves', 45: 'whiteboard', 55: 'bag', 59: 'window',
    64: 'picture', 80: 'blinds', 83: 'sofa', 85: 'books', 88: 'bookshelf',
    89: 'curtain', 119: 'pillow', 122: 'mirror', 123: 'shower curtain',
    124: 'toilet', 135: 'towel', 136: 'bathtub', 141: 'clothes',
    143: 'floor mat', 144: 'lamp', 157: 'bed', 158: 'night stand',
    169: 'dresser', 172: 'television', 331: 'person',
}  # fmt: skip
#: Some labels and the class of 13 that they are.
THIRTEEN_OF = {
    21: 'wall', 28: 'wall', 11: 'floor', 143: 'floor', 4: 'ceiling',
    5: 'chair', 157: 'bed', 83: 'sofa', 19: 'table', 36: 'table', 172: 'tv',
    59: 'window', 80: 'window', 64: 'picture', 85: 'books', 3: 'furniture',
    12: 'furniture', 8: 'objects', 1: 'objects', 894: 'objects',
}  # fmt: skip
#: The planes that frames show: normal towards the camera, metres from it.
PLANES = {
    1: ((0.0, 0.0, -1.0), 2.5),
    2: ((0.3, -0.6, -0.742), 2.0),
    3: ((-0.5, 0.2, -0.842), 3.0),
}
TRAIN, TEST = [3, 1], [2]
PIPELINE = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
]


def unit(vector):
    return np.asarray(vector) / np.linalg.norm(vector)


def plane_depth(frame, shape=(480, 640)):
    """Depth of a plane, from where each pixel's ray meets it."""
    normal, distance = unit(PLANES[frame][0]), PLANES[frame][1]
    rows, columns = np.indices(shape)
    # Pixels of the official camera count from 1.
    rays = np.stack(
        [
            (columns + 1 - 325.58244941119034) / 518.85790117450188,
            (rows + 1 - 253.73616633400465) / 519.46961112127485,
            np.ones(shape),
        ],
        -1,
    )
    return (-distance / (rays @ normal)).astype(np.float32)


@pytest.fixture(scope='module')
def frames():
    """Frames as Matlab has them: H x W x 3, H x W, H x W."""
    rng = np.random.default_rng(0)
    made = {}
    for frame in PLANES:
        blocks = rng.integers(0, 895, (12, 16))
        # Each class at least once within the crop.
        named = [*LABELS, *THIRTEEN_OF, 17]
        blocks[2:10, 1:15].flat[: len(named)] = named
        label = np.kron(blocks, np.ones((40, 40))).astype(np.uint16)
        label[100:104] = 0  # unlabelled, as between objects
        made[frame] = dict(
            image=rng.integers(0, 256, (480, 640, 3)).astype(np.uint8),
            label=label,
            depth=plane_depth(frame),
        )
    return made


def write_mat(path, frames, **changes):
    """``nyu_depth_v2_labeled.mat``: Matlab 7.3, axes the other way round."""
    with h5py.File(path, 'w', userblock_size=512) as file:
        content = dict(
            images=np.stack([f['image'].T for f in frames.values()]),
            depths=np.stack([f['depth'].T for f in frames.values()]),
            labels=np.stack([f['label'].T for f in frames.values()]),
        )
        names = [LABELS.get(i, 'thing') for i in range(1, 895)]
        names = changes.pop('names', names)
        content = {**content, **changes}
        for key, value in content.items():
            if value is not None:
                file[key] = value
        if names is not None:
            cells = file.create_dataset('names', (1, 894), h5py.ref_dtype)
            texts = {
                name: file.create_dataset(
                    f'#refs#/{i}',
                    data=np.array([[ord(c)] for c in name], np.uint16),
                )
                for i, name in enumerate(dict.fromkeys(names))
            }
            cells[0] = [texts[name].ref for name in names]
    with open(path, 'r+b') as file:
        file.write(b'MATLAB 7.3 MAT-file, Platform: GLNXA64')
    return path


@pytest.fixture(scope='module')
def official(tmp_path_factory, frames):
    root = tmp_path_factory.mktemp('official')
    write_mat(root / 'nyu_depth_v2_labeled.mat', frames)
    write_splits(root / 'splits.mat', TRAIN, TEST)
    return root


def write_splits(path, train, test):
    columns = dict(trainNdxs=train, testNdxs=test)
    savemat(
        path, {k: np.array(v, np.uint16)[:, None] for k, v in columns.items()}
    )
    return path


def convert(official, out, **settings):
    mat, splits = (official / name for name in OFFICIAL)
    convert_nyuv2(mat, splits, out, **{'workers': 1, **settings})
    return out


@pytest.fixture(scope='module')
def mtan(official, tmp_path_factory):
    out = tmp_path_factory.mktemp('mtan')
    return convert(official, out, size=(96, 128), crop=None)


@pytest.fixture(scope='module')
def forty(official, tmp_path_factory):
    return convert(official, tmp_path_factory.mktemp('40'), form='nyudv2')


def load(cls, root, split):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        data = cls(
            data_root=str(root),
            split=split,
            pipeline=PIPELINE,
            test_mode=split == 'val',
        )
        return [data[i] for i in range(len(data))]


@pytest.mark.parametrize(('split', 'order'), [('train', TRAIN), ('val', TEST)])
def test_mtan_form(mtan, frames, split, order):
    items = load(NYUv2Dataset, mtan, split)
    assert len(items) == len(order)
    for item, frame in zip(items, order, strict=True):
        maps, source = item['gt_maps'], frames[frame]
        blocks = source['image'].reshape(96, 5, 128, 5, 3).mean((1, 3))
        assert np.abs(item['img'][..., ::-1] - blocks).max() < 1.1
        # The middle of each 5 x 5 pixels.
        depth, label = source['depth'][2::5, 2::5], source['label'][2::5, 2::5]
        assert np.array_equal(maps['depth'], depth)
        assert ((maps['semseg'] == 255) == (label == 0)).all()
        for number, name in THIRTEEN_OF.items():
            found = maps['semseg'][label == number]
            assert found.size and (found == NAMES13.index(name)).all()
        assert np.abs(maps['normals'] - unit(PLANES[frame][0])).max() < 1e-5
    raw = {
        part: np.load(mtan / split / part / '0.npy')
        for part in ('image', 'label', 'depth', 'normal')
    }
    assert {a.dtype for a in raw.values()} == {np.dtype(np.float32)}
    assert raw['depth'].shape == (96, 128, 1) and raw['label'].min() == -1
    assert 0 <= raw['image'].min() < raw['image'].max() <= 1


def test_forty_classes_form(forty, frames):
    # The crop that both cameras see.
    window = slice(45, 471), slice(41, 601)
    assert (forty / 'gt_sets/train.txt').read_text() == '0003\n0001\n'
    items = load(NYUDv2Dataset, forty, 'train') + load(
        NYUDv2Dataset, forty, 'val'
    )
    for item, frame in zip(items, TRAIN + TEST, strict=True):
        maps = item['gt_maps']
        source = {k: v[window] for k, v in frames[frame].items()}
        assert item['sample_id'] == f'{frame:04d}'
        assert np.array_equal(item['img'][..., ::-1], source['image'])
        assert np.array_equal(maps['depth'], source['depth'])
        label = source['label']
        assert ((maps['semseg'] == 255) == (label == 0)).all()
        for number, name in LABELS.items():
            found = maps['semseg'][label == number]
            assert (found == FORTY.index(name)).all()
        assert (maps['semseg'][np.isin(label, STRUCTURE)] == 37).all()
        assert (maps['semseg'][np.isin(label, FURNITURE)] == 38).all()
        # 8 bits a component.
        error = np.abs(maps['normals'] - unit(PLANES[frame][0]))
        assert error.max() < 1.01 / 127.5
        for y, x in [(10, 7), (54, 300), (55, 100), (58, 100), (61, 100)]:
            here = maps['semseg'][y, x]
            other = maps['semseg'][y + 1, x], maps['semseg'][y, x + 1]
            assert maps['edge'][y, x] == any(here != o for o in other)
    edge = np.asarray(Image.open(forty / 'edge/0001.png'))
    assert set(np.unique(edge)) == {0, 255}
    seg = np.asarray(Image.open(forty / 'segmentation/0001.png')).astype(int)
    right = np.abs(np.diff(seg, axis=1, append=seg[:, -1:])) > 0
    below = np.abs(np.diff(seg, axis=0, append=seg[-1:])) > 0
    assert np.array_equal(edge > 0, right | below)


@pytest.mark.parametrize('form', ['mtan', 'forty'])
def test_the_check_finds_nothing(form, request):
    kind = 'NYUv2Dataset' if form == 'mtan' else 'NYUDv2Dataset'
    root = str(request.getfixturevalue(form))
    data = [dict(type=kind, data_root=root, split=s) for s in ('train', 'val')]
    cfg = dict(
        train_dataloader=dict(dataset=data[0]),
        test_dataloader=dict(dataset=data[1]),
    )
    for report in check_config(cfg, workers=1):
        assert report['errors'] == []
        problems = [w['problem'] for w in report['warnings']]
        assert len(problems) == 1 and 'published were' in problems[0]


def test_damaged_parts_are_made_again(mtan, official, tmp_path):
    out = tmp_path / 'out'
    shutil.copytree(mtan, out)
    whole = tree(out)
    cut = out / 'train/depth/1.npy'
    cut.write_bytes(cut.read_bytes()[:-7])
    (out / 'val/normal/0.npy').unlink()
    (out / 'train/label/.0.npy.999999999').write_bytes(b'draft')
    kept = out / 'train/image/0.npy'
    before = kept.stat().st_mtime_ns
    convert(official, out, size=(96, 128), crop=None)
    assert tree(out) == whole
    assert kept.stat().st_mtime_ns == before


def test_killed_and_gone_on(official, mtan, tmp_path):
    """A run that is killed and the next leave what one run leaves."""
    mat, splits = (
        official / 'nyu_depth_v2_labeled.mat',
        official / 'splits.mat',
    )
    out = tmp_path / 'out'
    run = subprocess.Popen(
        [
            sys.executable, TOOL, mat, splits, out, '--size', '96', '128',
            '--no-crop', '--workers', '1',
        ],
        cwd=ROOT,
    )  # fmt: skip
    first, last = out / 'train/image/0.npy', out / 'val/image/0.npy'
    end = time.monotonic() + 120
    while not first.exists() and run.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert first.exists() and not last.exists()
    before = first.stat().st_mtime_ns
    convert(official, out, size=(96, 128), crop=None)
    assert tree(out) == tree(mtan)
    assert first.stat().st_mtime_ns == before


def test_command_line(official, forty, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'out'
    files = [official / name for name in OFFICIAL]

    def run(*args):
        args = [TOOL, *files, *args, '--workers', 1]
        monkeypatch.setattr(sys, 'argv', list(map(str, args)))
        runpy.run_path(str(TOOL), run_name='__main__')

    shutil.copytree(forty, out)
    (out / 'edge/0002.png').unlink()
    run(out, '--form', 'nyudv2')
    assert tree(out) == tree(forty)
    text = capsys.readouterr().out
    assert 'train: 2 images (published: 795)' in text
    assert '2 of 3 images exist already' in text and 'is complete' in text
    for args, problem in (
        ([out], 'refused: .*form was "nyudv2", now it is "mtan"'),
        ([out, '--crop', '9', '9', '0', '9'], 'refused: crop=.*not allowed'),
    ):
        with pytest.raises(SystemExit, match=problem):
            run(*args)
    with pytest.raises(SystemExit):
        run(out, '--size', '0', '9')
    assert "'0' is not an integer >= 1" in capsys.readouterr().err


def test_other_settings_are_not_mixed(mtan, official, tmp_path):
    with pytest.raises(DataFileError, match=r'size was \[96, 128\], now'):
        convert(official, mtan, size=(48, 64), crop=None)
    with pytest.raises(DataFileError, match='crop was null, now it is'):
        convert(official, mtan, size=(96, 128))
    out = tmp_path / 'out'
    shutil.copytree(mtan, out)
    record = out / 'conversion.json'
    assert json.loads(record.read_text())['images']['train'] == TRAIN
    record.write_text('[]')
    with pytest.raises(DataFileError, match='not a valid record'):
        convert(official, out, size=(96, 128), crop=None)
    record.unlink()
    with pytest.raises(DataFileError, match='empty or does not exist'):
        convert(official, out, size=(96, 128), crop=None)


@pytest.mark.parametrize(
    ('changes', 'problem'),
    [
        (dict(images=None), "no variable 'images'"),
        (dict(labels=None), "no variable 'labels' in it; it has #refs#, dep"),
        (dict(names=None), "no variable 'names'"),
        (dict(depths=np.zeros((3, 640, 479), 'f4')), r'depths is \(3, 640, 4'),
        (dict(depths=np.zeros((3, 640, 480), 'u2')), 'of uint16, expected'),
        (dict(images=np.zeros((3, 480, 640, 3), 'u1')), r'images is \(3, 480'),
        (dict(labels=np.full((3, 640, 480), 895, 'u2')), 'has label 895'),
        (
            dict(names=['wall', *['thing'] * 893]),
            "label 1 is 'wall', but the class map says",
        ),
    ],
)
def test_files_that_are_not_the_official_one(
    frames, official, tmp_path, changes, problem
):
    path = tmp_path / 'nyu_depth_v2_labeled.mat'
    write_mat(path, frames, **changes)
    with pytest.raises(DataFileError, match=problem) as caught:
        convert_nyuv2(path, official / 'splits.mat', tmp_path / 'o', workers=1)
    assert str(caught.value).startswith(str(path))


def test_damaged_files(official, tmp_path):
    path, out = tmp_path / 'nyu_depth_v2_labeled.mat', tmp_path / 'out'
    with pytest.raises(DataFileError, match='no such file'):
        convert_nyuv2(path, official / 'splits.mat', out)
    content = (official / path.name).read_bytes()
    for part in (content[: len(content) // 2], b'<html>', b''):
        path.write_bytes(part)
        with pytest.raises(DataFileError, match='all of its 2.8 GB'):
            convert_nyuv2(path, official / 'splits.mat', out)
    assert not out.exists()
    splits = official / 'nyu_depth_v2_labeled.mat'
    with pytest.raises(DataFileError, match='cannot be read'):
        convert_nyuv2(splits, splits, out)


@pytest.mark.parametrize(
    ('train', 'test', 'problem'),
    [
        ([1, 4], [2], r'trainNdxs has \[4\]; expected frames of 1 .. 3'),
        ([0, 1], [2], r'trainNdxs has \[0\]'),
        ([1, 3], [], 'testNdxs has nothing'),
        ([1, 2], [2], 'frame 2 is listed 2 times'),
    ],
)
def test_bad_splits(official, tmp_path, train, test, problem):
    path = write_splits(tmp_path / 'splits.mat', train, test)
    mat = official / 'nyu_depth_v2_labeled.mat'
    with pytest.raises(DataFileError, match=problem) as caught:
        convert_nyuv2(mat, path, tmp_path / 'out', workers=1)
    assert str(caught.value).startswith(str(path))
    savemat(path, dict(trainNdxs=[1]))
    with pytest.raises(DataFileError, match="no variable 'testNdxs'"):
        convert_nyuv2(mat, path, tmp_path / 'out', workers=1)


def test_settings_that_are_not_allowed(official, tmp_path):
    for settings in (
        dict(form='mtn'), dict(depth='depth'), dict(crop=(0, 481, 0, 640)),
        dict(crop=(9, 9, 0, 640)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match='is not allowed: choose'):
            convert(official, tmp_path, **settings)


def test_without_h5py(official, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(ImportError, match="pip install 'h5py>=3.8'"):
        convert(official, tmp_path)


def test_raw_depth_and_class_files(frames, tmp_path):
    """Measured depth has holes; official class maps go before our own."""
    raw = np.stack([frame['depth'].T for frame in frames.values()])
    raw[:, 300:340, 200:240] = (0, np.nan) * 20
    path = write_mat(tmp_path / 'a.mat', frames, rawDepths=raw)
    splits = write_splits(tmp_path / 'splits.mat', [1], [2])
    forty = forty_classes()[1:].copy()
    forty[[20, 4]] = forty[[4, 20]]  # walls and chairs
    savemat(tmp_path / 'c40.mat', dict(mapClass=forty[None].astype(float)))
    thirteen = np.array(THIRTEEN[1:])
    thirteen[0] = 13
    savemat(
        tmp_path / 'c13.mat',
        dict(classMapping13=dict(labels13=thirteen[None].astype(float))),
    )
    out = tmp_path / 'out'
    with pytest.raises(DataFileError, match="label 5 is 'chair', but"):
        convert_nyuv2(
            path, splits, out,
            class_map=str(tmp_path / 'c40.mat'), workers=1,
        )  # fmt: skip
    savemat(tmp_path / 'c40.mat', dict(mapClass=forty_classes()[None, 1:]))
    convert_nyuv2(
        path,
        splits,
        out,
        size=(96, 128),
        crop=None,
        depth='rawDepths',
        class_map=str(tmp_path / 'c40.mat'),
        class_map13=str(tmp_path / 'c13.mat'),
        workers=1,
    )
    maps = load(NYUv2Dataset, out, 'val')[0]['gt_maps']
    label = frames[2]['label'][2::5, 2::5]
    assert (maps['semseg'][label == 21] == NAMES13.index('window')).all()
    hole = maps['depth'] == 0
    assert hole[40:48, 60:68].all() and hole.sum() == 64
    assert not maps['normals'][hole].any()
    assert np.linalg.norm(maps['normals'][~hole], axis=-1).min() > 0.999
    for key, value, problem in (
        ('other', forty, "no variable 'mapClass'"),
        ('mapClass', forty[1:], r'mapClass has shape \(1, 893\)'),
        ('mapClass', np.where(forty == 2, 41, forty), 'mapClass has 41'),
    ):
        savemat(tmp_path / 'c40.mat', {key: value[None].astype(float)})
        with pytest.raises(DataFileError, match=problem):
            forty_classes(str(tmp_path / 'c40.mat'))


def test_class_tables():
    table = forty_classes()
    assert table.shape == (895,) and table[0] == 0
    for number, name in LABELS.items():
        assert FORTY[table[number] - 1] == name
    # Every other class holds one label; 17 has another spelling.
    counts = np.bincount(table, minlength=41)
    assert counts[:38].tolist() == [1] * 38
    assert table[17] == 1 + FORTY.index('refrigerator')
    assert counts[38:].tolist() == [68, 82, 707]
    # Facts on some of the rest: dishwasher, light, column, garage door;
    # garbage bin, dog bed; rug, bottle.
    assert (table[[8, 62, 94, 850]] == 38).all()
    assert (table[[12, 858]] == 39).all()
    assert (table[[2, 130]] == 40).all()


def test_normals_of_planes():
    for frame in PLANES:
        depth = plane_depth(frame)[100:220, 200:360]
        camera = CAMERA._replace(cx=CAMERA.cx - 200, cy=CAMERA.cy - 100)
        normal = normals_from_depth(depth, camera)
        assert np.abs(normal - unit(PLANES[frame][0])).max() < 1e-5
    # A step: each side keeps its own normal, up to the edge.
    near, far = plane_depth(2), plane_depth(3) + 2
    depth = np.where(np.arange(640) < 320, near, far)[100:220, 240:400]
    camera = CAMERA._replace(cx=CAMERA.cx - 240, cy=CAMERA.cy - 100)
    normal = normals_from_depth(depth, camera)
    assert np.abs(normal[:, :80] - unit(PLANES[2][0])).max() < 1e-5
