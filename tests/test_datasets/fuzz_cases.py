"""Sound label files of every loader, and the ways in which they are broken."""

import io
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.io import savemat

from mmprotomtl.readers import (
    read_classes,
    read_classes_from_1,
    read_edges,
    read_label,
    read_normal_picture,
    read_normals,
    read_npy,
    read_parts,
    read_picture,
    read_saliency,
    read_share,
)
from mmprotomtl.tasks import build_tasks
from tests.test_datasets.test_pascal_context import annotation

H, W, CLASSES = 12, 16, 13
TASKS = build_tasks(
    dict(
        semseg=dict(num_classes=CLASSES), human_parts={}, sal={}, normals={},
        edge={}, depth={},
    )
)  # fmt: skip
HIGHEST = dict(semseg=CLASSES - 1, human_parts=6, sal=1, edge=1)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def picture(kind):
    def encode(array):
        stream = io.BytesIO()
        Image.fromarray(array).save(stream, kind)
        return stream.getvalue()

    return encode


def matlab(variables, compressed=False):
    stream = io.BytesIO()
    savemat(stream, variables, do_compression=compressed)
    return stream.getvalue()


def label_of(task, rng):
    """A sound label of a task."""
    if task == 'depth':
        return rng.uniform(0.5, 9, (H, W, 1)).astype(np.float32)
    if task == 'normals':
        normal = rng.normal(size=(H, W, 3))
        return normal / np.linalg.norm(normal, axis=-1, keepdims=True)
    return rng.integers(0, HIGHEST[task] + 1, (H, W)).astype(np.uint8)


# -- what is broken -------------------------------------------------------
# Each takes the file's bytes and a random generator and gives bytes.


def truncated(data, rng):
    return data[: rng.integers(0, len(data))]


def zeroed(data, rng):
    start = rng.integers(0, len(data))
    end = rng.integers(start, len(data)) + 1
    return data[:start] + bytes(end - start) + data[end:]


def flipped(data, rng, first=None):
    data = bytearray(data)
    for place in rng.integers(0, first or len(data), rng.integers(1, 9)):
        data[place] ^= int(rng.integers(1, 256))
    return bytes(data)


def header_flipped(data, rng):
    return flipped(data, rng, min(len(data), 100))


def longer(data, rng):
    return data + rng.bytes(rng.integers(1, 200))


BYTES = (truncated, zeroed, flipped, header_flipped, longer)

# Each takes a sound array, a random generator and the task's name and gives
# another array.


def other_class(array, rng, value):
    array = array.copy()
    array[rng.integers(H), rng.integers(W)] = value
    return array


CLASS_VALUES = {
    'class too high': (lambda a, r, t: other_class(a, r, HIGHEST[t] + 1)),
    'class 254': lambda a, r, t: other_class(a, r, 254),
}
NPY_CLASS_VALUES = {
    'class negative': lambda a, r, t: other_class(a.astype(np.int16), r, -2),
    'class 256 (uint16)': (
        lambda a, r, t: other_class(a.astype(np.uint16), r, 256)
    ),
    'class 2**64 - 1': (
        lambda a, r, t: other_class(a.astype(np.uint64), r, 2**64 - 1)
    ),
    'class a fraction': (lambda a, r, t: other_class(a.astype(float), r, 0.5)),
    'class NaN': lambda a, r, t: other_class(a.astype(float), r, np.nan),
    'class 1e300': lambda a, r, t: other_class(a.astype(float), r, 1e300),
}
VECTOR_VALUES = {
    'NaN': lambda a, r, t: other_class(a, r, np.nan),
    'inf': lambda a, r, t: other_class(a, r, -np.inf),
    '1e300': lambda a, r, t: other_class(a.astype(float), r, 1e300),
    'zero': lambda a, r, t: other_class(a, r, 0),
    'all NaN': lambda a, r, t: a * np.nan,
    'float16': lambda a, r, t: a.astype(np.float16),
    'big-endian': lambda a, r, t: a.astype('>f8'),
}
SHAPES = {
    'turned': lambda a, r, t: np.ascontiguousarray(a.swapaxes(0, 1)),
    'half of it': lambda a, r, t: a[: H // 2],
    'two channels': lambda a, r, t: np.stack(
        [a.reshape(H, W, -1)[..., 0]] * 2, -1
    ),
}
NPY_SHAPES = {
    'no pixel': lambda a, r, t: a[:0],
    'flat': lambda a, r, t: a.ravel(),
    'a scalar': lambda a, r, t: a.ravel()[0],
    'objects': lambda a, r, t: a.astype(object),
    'complex': lambda a, r, t: a.astype(complex),
    'text': lambda a, r, t: a.astype('U4'),
    'dates': lambda a, r, t: a.astype(np.int64).view('M8[s]'),
}


NPY_BROKEN = {**SHAPES, **NPY_SHAPES}
MAPS = {
    'class 460': lambda a, r, t: other_class(a, r, 460),
    'class negative': lambda a, r, t: other_class(a.astype(np.int16), r, -1),
    'class a fraction': lambda a, r, t: other_class(a.astype(float), r, 0.5),
    'class NaN': lambda a, r, t: other_class(a.astype(float), r, np.nan),
    'two channels': lambda a, r, t: np.stack([a, a], -1),
    'turned': SHAPES['turned'],
    'no pixel': lambda a, r, t: a[:0],
    'text': lambda a, r, t: matlab(dict(LabelMap='x')),
    'no such key': lambda a, r, t: matlab(dict(labels=a)),
    'a cell': lambda a, r, t: matlab(dict(LabelMap=a.astype(object))),
    'a struct': lambda a, r, t: matlab(dict(LabelMap=dict(map=a))),
}
PART_NAMES = ('head', 'torso', 'luarm', 'rhand', 'ruleg', 'lfoot')


def parts(array, names=PART_NAMES, turned=None):
    """PASCAL-Part's file of an array of 0 .. 6; one mask may be turned."""
    masks = [(array == number).astype(np.uint8) for number in range(1, 7)]
    if turned is not None:
        masks[turned] = masks[turned].T
    person = (15, np.ones_like(array), list(zip(names, masks, strict=True)))
    return matlab(annotation([person]), bool(array.sum() % 2))


PARTS = {
    'a mask turned': lambda a, r, t: parts(a, turned=r.integers(6)),
    'all turned': lambda a, r, t: parts(np.ascontiguousarray(a.T)),
    'unknown part': lambda a, r, t: parts(a, (*PART_NAMES[:5], 'tail')),
    'no such key': lambda a, r, t: matlab(dict(annotation=a)),
    'a matrix': lambda a, r, t: matlab(dict(anno=a)),
    'another struct': lambda a, r, t: matlab(dict(anno=dict(thing=a))),
    'no objects': lambda a, r, t: matlab(dict(anno=dict(objects=a))),
}


def label_map(array):
    return matlab(dict(LabelMap=array), bool(array.sum() % 2))


def colours(rng):
    return rng.integers(0, 256, (H, W, 3)).astype(np.uint8)


def counted_from_1(rng):
    return rng.integers(0, CLASSES + 1, (H, W)).astype(np.uint8)


PICTURES = {
    'turned': SHAPES['turned'],
    'two channels': SHAPES['two channels'],
    '16 bits': lambda a, r, t: a.reshape(H, W, -1)[..., 0].astype(np.uint16),
}
FROM_1 = {
    'class too high': lambda a, r, t: other_class(a, r, CLASSES + 1),
    'class 255': lambda a, r, t: other_class(a, r, 255),
    'class 256': lambda a, r, t: other_class(a.astype(np.uint16), r, 256),
    'turned': SHAPES['turned'],
}


class Case(NamedTuple):
    """A loader: which task, how it reads, a sound stored array from a random
    generator, its file's bytes, and changes that have to be refused or
    counted as unlabelled. ``beside`` is another file that it reads.
    """

    task: str
    read: Callable
    sound: Callable
    encode: Callable
    refused: dict = {}  # noqa: RUF012
    unlabelled: dict = {}  # noqa: RUF012
    beside: str | None = None


def cases():
    """Loader -> its case."""
    png = picture('PNG')
    found = {}
    for task in TASKS:
        classes = task in HIGHEST
        sound = partial(label_of, task)
        refused = dict(NPY_BROKEN)
        if classes:
            refused.update({**CLASS_VALUES, **NPY_CLASS_VALUES})
            wrong = {**CLASS_VALUES, 'turned': SHAPES['turned']}
            found[f'png {task}'] = Case(task, read_picture, sound, png, wrong)
        read = read_classes if task == 'semseg' else read_npy
        unlabelled = {} if classes else VECTOR_VALUES
        found[f'npy {task}'] = Case(
            task, read, sound, npy, refused, unlabelled
        )
    gray = {'grey': lambda a, r, t: other_class(a, r, 127)}
    found['NYUDv2 png semseg'] = Case(
        'semseg', read_classes_from_1, counted_from_1, png, FROM_1
    )
    found['NYUDv2 png normals'] = Case(
        'normals', read_normal_picture, colours, png, PICTURES, gray
    )
    found['NYUDv2 png edge'] = Case(
        'edge', read_share, lambda r: 255 * label_of('edge', r), png,
        {**PICTURES, 'half': lambda a, r, t: other_class(a, r, 128)},
    )  # fmt: skip
    found['PASCAL png sal'] = Case(
        'sal', read_saliency, lambda r: colours(r)[..., 0], png, PICTURES
    )
    found['PASCAL mat human_parts'] = Case(
        'human_parts', partial(read_parts, image='none'),
        partial(label_of, 'human_parts'), parts, PARTS,
    )  # fmt: skip
    lines = Case(
        'edge', read_edges,
        lambda r: r.integers(0, 460, (H, W)).astype(np.uint16), label_map,
        MAPS,
    )  # fmt: skip
    found['PASCAL mat edge'] = lines
    found['PASCAL mat normals'] = lines._replace(
        task='normals', read=read_normals, beside='normals.png'
    )
    wrong = {'turned': SHAPES['turned']}
    found['folder png semseg'] = Case(
        'semseg', partial(read_label, ignore=0, offset=-1), counted_from_1,
        png, FROM_1,
    )  # fmt: skip
    found['folder npy semseg'] = Case(
        'semseg', partial(read_label, ignore=0, offset=-1), counted_from_1,
        npy, {**NPY_BROKEN, **FROM_1},
    )  # fmt: skip
    found['folder png depth'] = Case(
        'depth', partial(read_label, scale=0.001, invalid=0),
        lambda r: r.integers(1, 9000, (H, W)).astype(np.uint16), png, wrong,
        {'zero': lambda a, r, t: other_class(a, r, 0)},
    )  # fmt: skip
    found['folder png normals'] = Case(
        'normals', partial(read_label, scale=2 / 255, offset=-1, invalid=0),
        colours, png, PICTURES,
    )  # fmt: skip
    found['folder png sal'] = Case(
        'sal', partial(read_label, scale=1 / 255),
        lambda r: 255 * label_of('sal', r), png,
        {**wrong, 'half': lambda a, r, t: other_class(a, r, 128)},
    )  # fmt: skip
    return found


CASES = cases()
