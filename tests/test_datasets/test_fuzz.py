"""Damaged labels and images: an error that names the file, or a valid label.

Thousands of files are broken in a seeded way, in their bytes or in what they
hold, and go through the loading transforms as in training.
"""

import zlib
from collections import Counter
from functools import partial

import numpy as np
import pytest
from PIL import Image
from prettytable import PrettyTable

from mmprotomtl.datasets import (
    CityscapesMTDataset,
    ImageFolderMTDataset,
    NYUDv2Dataset,
    NYUv2Dataset,
    PASCALContextMTDataset,
)
from mmprotomtl.datasets.transforms.loading import (
    LoadMultiTaskAnnotations,
    LoadMultiTaskImage,
)
from mmprotomtl.readers import (
    DataFile,
    read_classes,
    read_npy,
    read_picture,
    read_rgb,
)
from mmprotomtl.utils.errors import DataFileError
from tests.test_datasets.fuzz_cases import (
    BYTES,
    CASES,
    HIGHEST,
    TASKS,
    H,
    W,
    colours,
    npy,
    picture,
    truncated,
)

PER_LOADER = 150


def assert_valid(task, label):
    """Independent of the tasks: is this a label of its size and range?"""
    assert label.shape == ((H, W, 3) if task == 'normals' else (H, W))
    if task in HIGHEST:
        assert label.dtype == np.uint8
        assert set(np.unique(label)) <= {*range(HIGHEST[task] + 1), 255}
        return
    assert label.dtype == np.float32
    assert np.isfinite(label).all()
    if task == 'depth':
        assert (label >= 0).all()
    else:
        length = np.linalg.norm(label, axis=-1)
        assert ((length == 0) | (abs(length - 1) < 1e-3)).all()


def load(path, task, read, beside=None):
    """The label or the error, as training sees them. ``path`` is what is
    broken: the label's file, or one that is read ``beside`` it.
    """
    file = path.with_name(beside) if beside else path
    info = dict(
        tasks={task: TASKS[task]},
        labels={task: DataFile(str(file), read)},
        ori_shape=(H, W),
    )
    try:
        return LoadMultiTaskAnnotations().transform(info)['gt_maps'][task]
    except DataFileError as error:
        assert error.path == str(path)
        assert str(path) in str(error)
        return error


def outcome(result):
    return 'refused' if isinstance(result, DataFileError) else 'valid label'


def refuses(case, kind, rng, path):
    """Break a sound file in one way and load it; sound, it is a label."""
    read = case.read
    if case.beside:
        read = partial(read, label_map=str(path))
        Image.fromarray(colours(rng)).save(path.with_name(case.beside))
    stored = case.sound(rng)
    data = case.encode(stored)
    path.write_bytes(data)
    assert outcome(load(path, case.task, read, case.beside)) == 'valid label'
    if callable(kind):
        data = kind(data, rng)
    else:
        change = case.refused.get(kind) or case.unlabelled[kind]
        data = change(stored, rng, case.task)
        if not isinstance(data, bytes):
            data = case.encode(data)
    path.write_bytes(data)
    return load(path, case.task, read, case.beside)


@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_thousands_of_broken_labels(tmp_path):
    rng = np.random.default_rng(0)
    counts = Counter()
    for loader, case in CASES.items():
        path = tmp_path / f'label.{loader.split()[-2]}'
        kinds = [*BYTES, *case.refused, *case.unlabelled]
        for turn in range(PER_LOADER):
            kind = kinds[turn % len(kinds)]
            result = refuses(case, kind, rng, path)
            counts[loader, outcome(result)] += 1
            what = (loader, kind, result)
            npy_cut = kind is truncated and case.encode is npy
            if kind in case.refused or npy_cut:
                assert isinstance(result, DataFileError), what
            elif kind in case.unlabelled:
                assert isinstance(result, np.ndarray), what
            if isinstance(result, np.ndarray):
                assert_valid(case.task, result)
    table = PrettyTable(['loader', 'files', 'refused', 'valid label'])
    table.align = 'r'
    table.align['loader'] = 'l'
    for loader in CASES:
        outcomes = [counts[loader, name] for name in table.field_names[2:]]
        table.add_row([loader, sum(outcomes), *outcomes])
        assert min(outcomes) > 0, f'{loader} always ends the same way'
    total = [sum(row[i] for row in table.rows) for i in (1, 2, 3)]
    table.add_row(['all', *total])
    print(f'\n{table}')
    assert total[0] == PER_LOADER * len(CASES) >= 2000


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'npy'])
@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_broken_images(tmp_path, kind):
    rng = np.random.default_rng(1)
    path = tmp_path / f'image.{kind}'
    counts = Counter()
    for turn in range(250):
        image = rng.integers(0, 256, (H, W, 3)).astype(np.uint8)
        data = npy(image / 255) if kind == 'npy' else picture(kind)(image)
        path.write_bytes(BYTES[turn % len(BYTES)](data, rng))
        file = DataFile(str(path), read_npy if kind == 'npy' else read_rgb)
        try:
            image = LoadMultiTaskImage().transform(dict(image=file))['img']
            assert image.dtype == np.uint8
            assert image.shape[2] == 3
            assert image.size
            counts['image'] += 1
        except DataFileError as error:
            assert error.path == str(path)
            counts['refused'] += 1
    assert min(counts['image'], counts['refused']) > 10


def test_pixels_without_a_value_are_unlabelled(tmp_path):
    depth = np.full((H, W), 2.0)
    depth[0, :5] = (np.nan, np.inf, -np.inf, -1, 0)
    np.save(tmp_path / 'depth.npy', depth)
    label = load(tmp_path / 'depth.npy', 'depth', read_npy)
    assert (label[0, :5] == 0).all()
    assert (label.ravel()[5:] == 2).all()
    normal = np.zeros((H, W, 3))
    normal[..., 2] = 3
    normal[0, :3] = ((0, 0, 0), (np.nan,) * 3, (1e300, 0, 0))
    np.save(tmp_path / 'normal.npy', normal)
    label = load(tmp_path / 'normal.npy', 'normals', read_npy)
    assert (label[0, :3] == 0).all()
    assert (label.reshape(-1, 3)[3:] == (0, 0, 1)).all()


@pytest.mark.parametrize('dtype', ['i1', '>i2', 'i8', 'f4'])
def test_classes_of_any_number_type(tmp_path, dtype):
    classes = np.resize(np.arange(-1, 13), (H, W))
    np.save(tmp_path / 'a.npy', classes.astype(dtype))
    label = load(tmp_path / 'a.npy', 'semseg', read_classes)
    assert (label == np.where(classes < 0, 255, classes)).all()


def refused(path, task='semseg', read=read_npy):
    error = load(path, task, read)
    assert isinstance(error, DataFileError)
    return error.problem


@pytest.mark.parametrize('read', [read_npy, read_picture])
def test_links_folders_and_empty_files(tmp_path, read):
    loop = tmp_path / 'loop'
    loop.symlink_to(tmp_path / 'back')
    (tmp_path / 'back').symlink_to(loop)
    assert 'link that leads back' in refused(loop, read=read)
    (tmp_path / 'dangling').symlink_to(tmp_path / 'nothing')
    assert refused(tmp_path / 'dangling', read=read) == 'no such file'
    assert refused(tmp_path, read=read) == 'a folder, not a regular file'
    (tmp_path / 'empty').write_bytes(b'')
    assert '0 bytes' in refused(tmp_path / 'empty', read=read)


@pytest.mark.parametrize(
    ('kind', 'folder'),
    [
        (NYUv2Dataset, 'train/image'),
        (CityscapesMTDataset, 'train/image'),
        (NYUDv2Dataset, 'images'),
        (PASCALContextMTDataset, 'JPEGImages'),
        (
            partial(ImageFolderMTDataset, folders=dict(depth='d'), tasks=dict(
                depth={})), 'images',
        ),
    ],
)  # fmt: skip
def test_data_folders_that_are_none(tmp_path, kind, folder):
    """A link to itself, a file, nothing: each is said, with what belongs
    there.
    """
    path = tmp_path / folder
    path.parent.mkdir(exist_ok=True)

    def problem():
        with pytest.raises(DataFileError) as caught:
            kind(data_root=str(tmp_path))
        assert caught.value.path == str(path)
        assert '(see docs/' in caught.value.problem
        return caught.value.problem

    assert problem().startswith('no such folder')
    path.write_text('')
    assert problem().startswith('not a folder')
    path.unlink()
    path.symlink_to(path)
    assert problem().startswith('a symbolic link that leads back')


def npy_with_header(shape):
    header = str(dict(descr='<f8', fortran_order=False, shape=shape))
    header = header.ljust(117) + '\n'
    head = b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little')
    return head + header.encode()


@pytest.mark.filterwarnings('ignore:overflow encountered')
@pytest.mark.parametrize(
    'shape', [(10**6, 10**6), (2**62, 4), (-3, 4), (-1, -16), (0, 5), ()]
)
def test_absurd_npy_headers_allocate_nothing(tmp_path, shape):
    import tracemalloc

    (tmp_path / 'a.npy').write_bytes(npy_with_header(shape) + bytes(64))
    tracemalloc.start()
    refused(tmp_path / 'a.npy', 'depth')
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_objects_and_archives_are_refused(tmp_path):
    np.save(tmp_path / 'a.npy', np.array([{}, None]), allow_pickle=True)
    assert 'objects' in refused(tmp_path / 'a.npy')
    with (tmp_path / 'b.npy').open('wb') as stream:
        np.savez(stream, label=np.zeros((H, W)))
    assert 'archive' in refused(tmp_path / 'b.npy')


def png_of_size(width, height):
    """A PNG that says it is large and holds nothing."""

    def chunk(name, data):
        crc = zlib.crc32(name + data).to_bytes(4, 'big')
        return len(data).to_bytes(4, 'big') + name + data + crc

    size = width.to_bytes(4, 'big') + height.to_bytes(4, 'big')
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', size + b'\x08\x00\x00\x00\x00')
        + chunk(b'IDAT', zlib.compress(bytes(100)))
        + chunk(b'IEND', b'')
    )


@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
@pytest.mark.parametrize('side', [10_001, 60_000])
def test_decompression_bombs_are_refused(tmp_path, side):
    (tmp_path / 'a.png').write_bytes(png_of_size(side, side))
    assert 'pixels' in refused(tmp_path / 'a.png', read=read_picture)


def test_labels_of_another_size(tmp_path):
    """Another resolution is fitted, rounding allowed; another shape not."""
    path = tmp_path / 'a.npy'
    for size in ((6, 8), (120, 160), (24, 33), (3, 4)):
        np.save(path, np.resize(np.arange(13), size))
        assert load(path, 'semseg', read_npy).shape == (H, W)
    for size in ((16, 12), (12, 12), (120, 200), (1, 200)):
        np.save(path, np.zeros(size))
        assert 'not another aspect ratio' in refused(path)
