"""Small files that ask for much work or memory are refused at once."""

import io
import os
import pickle
import struct
import time
import zipfile
import zlib
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from mmprotomtl.label_masks import read_mask_file
from mmprotomtl.readers import (
    DataFile,
    image_file,
    mat_variables,
    matlab,
    pictures,
    read_ids,
    read_label,
    read_mat,
    read_npy,
    read_picture,
    read_rgb,
)
from mmprotomtl.utils.errors import DataFileError

READERS = dict(
    rgb=read_rgb, picture=read_picture, npy=read_npy, ids=read_ids,
    mask=read_mask_file, mat=partial(read_mat, key='a'),
    variables=mat_variables, label=read_label,
    file=lambda path: image_file(path).load(),
)  # fmt: skip


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < 8


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('kind', ['pipe', 'device', 'folder'])
def test_what_is_no_regular_file(reader, kind, in_tmp):
    """To read it may never end, also through a link."""
    ending = {'npy': 'npy', 'mat': 'mat', 'variables': 'mat'}.get(
        reader, 'png'
    )
    path = f'a.{ending}'
    if kind == 'pipe':
        os.mkfifo('pipe')
        os.symlink('pipe', path)
    elif kind == 'device':
        os.symlink('/dev/zero', path)
    else:
        os.mkdir(path)
    with pytest.raises(DataFileError, match='not a regular file') as caught:
        READERS[reader](path)
    assert caught.value.path == path


def refused_mask(path, match):
    with pytest.raises(DataFileError, match=match) as caught:
        read_mask_file(str(path))
    assert str(caught.value).startswith(f'{path}: ')
    assert len(str(caught.value)) < 1000


def lists(levels, leaf):
    """Two references to one list of two references to one list of ..."""
    for _ in range(levels):
        leaf = [leaf, leaf]
    return leaf


def tuples(levels):
    leaf = ()
    for _ in range(levels):
        leaf = (leaf, leaf)
    return leaf


def torch_file(path, code, zipped=True):
    """A file of torch.save with a pickle of our own."""
    if zipped:
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('a/data.pkl', code)
        return
    buffer = io.BytesIO()
    torch.save({}, buffer, _use_new_zipfile_serialization=False)
    content = buffer.getvalue()
    empty = pickle.dumps({}, 2)
    assert empty in content
    path_bytes = content.replace(empty, code, 1)
    with open(path, 'wb') as file:
        file.write(path_bytes)


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('kind', ['list', 'key', 'leaf'])
def test_nested_lists_that_share_their_parts(zipped, kind):
    code = dict(
        list=pickle.dumps({'a': lists(60, 'x')}, 2),
        # Its hash would be taken of 2 ** 60 parts.
        key=b'\x80\x02}' + pickle.dumps(tuples(60), 2)[2:-1] + b'K\x01s.',
        leaf=pickle.dumps({'a': lists(6, ['x'] * 1000)}, 2),
    )[kind]  # fmt: skip
    torch_file('a.pth', code, zipped)
    assert os.path.getsize('a.pth') < 20_000
    refused_mask(
        'a.pth', 'more than (8|100) levels|a key of type tuple|many more'
    )


def test_nested_lists_in_a_numpy_file():
    for value in (lists(60, 'x'), {'a': lists(60, 'x')}):
        np.save('a.npy', np.array({'a': value}, dtype=object))
        assert os.path.getsize('a.npy') < 2000
        refused_mask('a.npy', 'more than 8 levels')
    # A row that many images share is fine.
    row = [1, 0, 1, 0, 0]
    np.save(
        'b.npy', np.array({f'i{i}': row for i in range(3000)}, dtype=object)
    )
    assert len(read_mask_file('b.npy').labelled) == 3000


@pytest.mark.parametrize(
    'code',
    [
        b'}X\x00\x00\x00\x40abc.',  # text of a gigabyte
        b'\x80\x04\x8d' + struct.pack('<Q', 2**60) + b'a.',
        b'\x80\x04\x8e' + struct.pack('<Q', 2**40) + b'a.',
        b'\x80\x05\x96' + struct.pack('<Q', 2**30) + b'.',  # bytearray
        b'\x8b\xff\xff\xff\x7f1.',  # an integer of 2 GB
        b'\x80\x04\x95' + struct.pack('<Q', 2**40) + b'N.',
        b'}r\xff\xff\xff\x7f.',  # a memo of 2 ** 31
        b'S' + b'9' * 50 + b'.', b'I' + b'9' * 10**5 + b'\n.',
        b'(' * 10**5 + b'.', b'l' * 100 + b'.', b'0' * 9 + b'.', b'',
    ],
)  # fmt: skip
def test_lengths_that_a_pickle_claims(code):
    torch_file('a.pth', code)
    refused_mask('a.pth', 'not a label mask')


def test_integers_that_all_have_one_hash():
    """A dict of n such keys would take n^2 steps."""
    keys = {i * (2**61 - 1): 1 for i in range(1, 20)}
    torch_file('a.pth', pickle.dumps(keys, 2))
    refused_mask('a.pth', 'a key of type int')


def test_tensors_of_stride_0_in_a_mask():
    torch.save(dict(labels_weights=torch.ones(1).expand(2**29, 2)), 'a.pth')
    assert os.path.getsize('a.pth') < 2000
    refused_mask('a.pth', 'repeats the same few numbers')


def test_arrays_that_claim_more_than_they_have():
    array = np.ones(5, np.int64)
    code = pickle.dumps({'x': array}, 2).replace(
        b'K\x05\x85', b'J\x00\x00\x00\x70\x85'
    )
    torch_file('a.pth', code)
    refused_mask('a.pth', 'cannot reshape')


def test_packed_variables_of_a_matlab_file(monkeypatch):
    """Each is small when it is packed; the bound is for all together."""
    stream = io.BytesIO()
    savemat(stream, dict(a=np.zeros((1000, 1000))), do_compression=True)
    header, packed = stream.getvalue()[:128], stream.getvalue()[128:]
    with open('a.mat', 'wb') as file:
        file.write(header + packed * 200)  # 1.6 GB
    assert os.path.getsize('a.mat') < 2_000_000
    with pytest.raises(DataFileError, match=r'a\.mat: .*more than 268435456'):
        mat_variables('a.mat')
    with pytest.raises(DataFileError, match=r'a\.mat: .*more than 268435456'):
        read_mat('a.mat', 'b')
    monkeypatch.setattr(matlab, 'MAX_BYTES', 20_000_000)
    assert read_mat('a.mat', 'a').shape == (1000, 1000)


def element(kind, content):
    return (
        struct.pack('<II', kind, len(content))
        + content
        + bytes(-len(content) % 8)
    )


def matlab_file(path, kind, shape, rest):
    body = element(6, struct.pack('<II', kind, 0))
    body += element(5, struct.pack(f'<{len(shape)}I', *shape))
    body += element(1, b'a') + rest
    with open(path, 'wb') as file:
        file.write(b' ' * 124 + b'\x00\x01IM' + element(
            15, zlib.compress(element(14, body))
        ))  # fmt: skip


def test_empty_cells_and_structs_of_a_matlab_file():
    """scipy makes an object of each, and one of each struct without fields."""
    matlab_file('a.mat', 1, (2_000_000, 1), element(14, b'') * 2_000_000)
    assert os.path.getsize('a.mat') < 50_000
    with pytest.raises(DataFileError, match='2000000 parts'):
        read_mat('a.mat', 'a')
    none = element(5, struct.pack('<I', 8)) + element(1, b'')
    matlab_file('b.mat', 2, (2**15, 2**15), none)
    with pytest.raises(DataFileError, match='parts in'):
        read_mat('b.mat', 'a')
    matlab_file('c.mat', 2, (1, 1), none)
    assert read_mat('c.mat', 'a').shape == (1, 1)


def png(path, width, height):
    """A PNG whose header says any size."""
    buffer = io.BytesIO()
    Image.new('L', (4, 4)).save(buffer, 'PNG')
    content = bytearray(buffer.getvalue())
    content[16:24] = struct.pack('>II', width, height)
    content[29:33] = struct.pack('>I', zlib.crc32(content[12:29]))
    with open(path, 'wb') as file:
        file.write(content)


@pytest.mark.parametrize(
    'size', [(10**4, 10**4), (20_000, 20_000), (2**31 - 1, 2**31 - 1)]
)
@pytest.mark.parametrize('read', [read_rgb, read_picture, read_label])
def test_pictures_of_a_hundred_million_pixels(size, read):
    png('a.png', *size)
    with pytest.raises(DataFileError, match='100000000 .*and more are not'):
        read('a.png')
    png('b.png', 9999, 10**4)
    # Smaller ones are decoded, and found to be cut off.
    with pytest.raises(
        DataFileError, match=r'b\.png.*truncated|broken|b\.png'
    ):
        DataFile('b.png', read).load()


def test_a_gray_picture_just_below_the_bound_is_read(monkeypatch):
    monkeypatch.setattr(pictures, 'MAX_PIXELS', 17)
    Image.new('L', (4, 4)).save('a.png')
    assert read_picture('a.png').shape == (4, 4)
    monkeypatch.setattr(pictures, 'MAX_PIXELS', 16)
    with pytest.raises(DataFileError, match='4 x 4 pixels; 16 and more'):
        read_picture('a.png')


def test_a_line_of_accents_in_a_list_of_ids():
    """To sort them takes time of the square of their number."""
    with open('a.txt', 'w') as file:
        file.write('a' + '\u0301\u0323' * 300_000)
    with pytest.raises(DataFileError, match='line 1 has 600001 letters'):
        read_ids('a.txt')


def test_files_that_are_too_large(in_tmp):
    for name in ('a.txt', 'a.mat', 'a.pth'):
        with open(name, 'wb') as file:
            file.truncate(2**40)  # sparse: takes no room
    for read in (
        partial(read_ids, 'a.txt'), partial(mat_variables, 'a.mat'),
        partial(read_mask_file, 'a.pth'),
    ):  # fmt: skip
        with pytest.raises(DataFileError, match='1099511627776 bytes; more'):
            read()
