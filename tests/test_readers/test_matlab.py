"""Matlab's files: what scipy would crash on is refused before."""

import io
import subprocess
import sys
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from mmprotomtl.readers import matlab
from mmprotomtl.readers.matlab import read_mat
from mmprotomtl.utils.errors import DataFileError


def content(variables, **kwargs):
    stream = io.BytesIO()
    savemat(stream, variables, **kwargs)
    return bytearray(stream.getvalue())


def nested(depth):
    cell = np.empty((1, 1), object)
    cell[0, 0] = nested(depth - 1) if depth else 0
    return cell


def assert_same(one, other):
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
    if not one.dtype.hasobject:
        assert np.array_equal(one, other)
        return
    for a, b in zip(one.ravel(), other.ravel(), strict=True):
        fields = one.dtype.names
        parts = [(a[f], b[f]) for f in fields] if fields else [(a, b)]
        for part in parts:
            assert_same(*part)


@pytest.mark.parametrize('compressed', [False, True])
def test_sound_files_are_read_as_scipy_reads_them(tmp_path, compressed):
    path = tmp_path / 'a.mat'
    variables = dict(
        other=np.ones((3, 4), np.int8),
        numbers=np.arange(6.0).reshape(2, 3) * 1j,
        text='some words',
        none=np.zeros((0, 0)),
        struct=dict(a=np.ones((5, 5), np.uint16), b=dict(c='x', long_name=3)),
        cells=np.array([1, 'b', np.eye(2)], object),
        deep=nested(8),
        solid=np.ones((2, 3, 4), np.float32),
    )
    path.write_bytes(content(variables, do_compression=compressed))
    expected = loadmat(path)
    for key in variables:
        assert_same(read_mat(str(path), key), expected[key])
    with pytest.raises(DataFileError, match="'x' in it; it has other, numb"):
        read_mat(str(path), 'x')


def test_the_sample_files_are_read(shared_data):
    for path in (shared_data / 'layouts/PASCAL_MT').rglob('*.mat'):
        key = 'anno' if path.parent.name == 'human_parts' else 'LabelMap'
        assert_same(read_mat(str(path), key), loadmat(path)[key])


def refused(path, data):
    path.write_bytes(data)
    with pytest.raises(DataFileError, match='no Matlab file of ver') as caught:
        read_mat(str(path), 'a')
    assert caught.value.path == str(path)
    return caught.value.problem


def test_a_type_that_is_none_ends_scipy_but_not_us(tmp_path):
    data = content(dict(a=np.ones((4, 4))))
    # Header of the file, tag, flags, shape, name; then the values' type.
    place = 128 + 8 + 16 + 16 + 8
    assert data[place] == 9
    data[place : place + 2] = (0x30, 0x75)
    path = tmp_path / 'a.mat'
    assert 'type 30000' in refused(path, data)
    code = f'from scipy.io import loadmat; loadmat({str(path)!r})'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True)
    # What we guard against. A scipy that raises makes this file needless.
    assert done.returncode != 0


def test_what_else_is_refused(tmp_path, monkeypatch):
    path = tmp_path / 'a.mat'
    whole = content(dict(a=dict(b=1.0, c='x')))
    for end in (0, 100, 130, 140, 200, len(whole) - 9):
        refused(path, whole[:end])
    assert 'its header' in refused(path, content(dict(a=1), format='4'))
    assert 'class 5' in refused(path, content(dict(a=_sparse())))
    assert 'levels' in refused(path, content(dict(a=nested(30))))
    cells = content(dict(a=np.array([1, 2], object)))
    cells[128 + 8 + 16 + 8 + 4 + 3] = 0x40  # two cells become 2 ** 30
    assert 'parts in' in refused(path, cells)
    packed = content(dict(a=np.zeros((500, 500))), do_compression=True)
    monkeypatch.setattr(matlab, 'MAX_BYTES', 1_000_000)
    assert 'packed' in refused(path, packed)
    monkeypatch.undo()
    assert read_mat(str(path), 'a').shape == (500, 500)
    for wrong in (packed[:-6] + bytes(6), packed[:-1] + b'x'):
        with pytest.raises(zlib.error):
            zlib.decompress(bytes(wrong[136:]))
        refused(path, wrong)


def _sparse():
    from scipy.sparse import csc_matrix

    return csc_matrix(np.eye(3))
