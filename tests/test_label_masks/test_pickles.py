"""Numbers and names in masks that another machine wrote."""

import io
import pickle

import numpy as np
import pytest
import torch

from mmprotomtl.label_masks import read_mask_file
from mmprotomtl.label_masks.pickles import load_numpy, load_torch


def saved(value: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(value, dtype=object))
    return file.getvalue()


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize(
    'kind', ['i2', 'i4', 'i8', 'u2', 'u4', 'u8', 'f4', 'f8']
)
def test_both_byte_orders_of_numbers(order, kind):
    numbers = np.array([1, 2, 300], f'{order}{kind}')
    assert load_numpy(saved(dict(a=numbers))) == dict(a=[1, 2, 300])


@pytest.mark.parametrize('order', '<>')
def test_both_byte_orders_of_ids(order, tmp_path):
    """A mask written on a big-endian machine labels the same images."""
    ids = np.array(['7', '2008_000002'], f'{order}U11')
    path = tmp_path / 'mask.npy'
    path.write_bytes(saved(dict(a=ids, b=['7'])))
    assert read_mask_file(str(path)).labelled == {
        '7': ('a', 'b'), '2008_000002': ('a',),
    }  # fmt: skip


def test_one_byte_and_negative_numbers():
    values = dict(
        a=np.array([0, 255], 'u1'),
        b=np.array([-1, 127], 'i1'),
        c=np.array([True, False]),
        d=np.array(5, '>i4'),
    )
    assert load_numpy(saved(values)) == dict(
        a=[0, 255], b=[-1, 127], c=[True, False], d=5
    )


@pytest.mark.parametrize('zipped', [True, False])
def test_arrays_in_a_torch_file(zipped):
    file = io.BytesIO()
    rows = {'x': np.array([1, 0, 1], '>i8'), 'y': [np.float32(0.5)]}
    torch.save(rows, file, _use_new_zipfile_serialization=zipped)
    assert load_torch(file.getvalue()) == {'x': [1, 0, 1], 'y': [0.5]}


@pytest.mark.parametrize('value', [3, [1, 2], [[{}]], ['a']])
def test_arrays_that_are_no_dict(value):
    file = io.BytesIO()
    kind = object if value == [[{}]] else None
    np.save(file, np.array(value, dtype=kind))
    with pytest.raises(ValueError, match='not one dict'):
        load_numpy(file.getvalue())


@pytest.mark.parametrize('shape', [(2, 2), (1, 1), (4, 1)])
def test_tables_in_a_numpy_dict_are_refused(shape):
    """A row of labels has one axis."""
    with pytest.raises(pickle.UnpicklingError, match='an array of shape'):
        load_numpy(saved(dict(a=np.zeros(shape))))
    assert load_numpy(saved(dict(a=np.zeros(4)))) == dict(a=[0] * 4)
