"""Labels of data sets on disk, read to what their task expects.

Labels that are stored as pictures go through :mod:`.pictures`, which decides
what a picture's numbers mean.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mmprotomtl.utils.errors import DataFileError

from .files import read_npy
from .matlab import mat_variables, read_mat
from .pictures import LABEL_ENDINGS, drop_short, read_picture

#: Endings of the labels of an own folder.
OWN_ENDINGS = (*LABEL_ENDINGS, '.npy', '.mat')
#: What the values of a label can be, :attr:`mmprotomtl.tasks.Task.label_kind`.
KINDS = ('class', 'binary', 'measure')
#: The field of BSDS's structs that is taken where none is named.
_BOUNDARIES = 'Boundaries'


def read_classes(path: str, unlabelled: int = -1) -> np.ndarray:
    """MTAN's ``.npy`` of classes, ``unlabelled`` becoming 255."""
    label = read_npy(path)
    if label.dtype == np.int8:
        label = label.astype(np.int16)  # 255 is no int8
    return np.where(label == unlabelled, 255, label)


def read_classes_from_1(path: str) -> np.ndarray:
    """NYUD-v2's picture of classes stored as 1 .. 40, 0 = unlabelled."""
    label = read_picture(path).astype(np.int32)
    # What is out of range has to stay so: 256 must not become 255.
    return np.where(label == 0, 255, np.where(label > 40, 256, label - 1))


def read_label(
    path: str,
    scale: float = 1.0,
    offset: float = 0.0,
    ignore: float | Sequence[float] = (),
    threshold: float | None = None,
    key: str | None = None,
    votes: int | None = None,
    invalid: float = 255,
    kind: str = 'class',
) -> np.ndarray:
    """A label of an own folder: stored value x ``scale`` + ``offset``.

    Without ``scale``, a picture of a palette or of fewer than 8 bits holds
    the numbers that were stored (indices, 0 .. 15). With it, or where the
    task measures something, it holds the levels 0 .. 255 that it shows.

    Args:
        path: A picture, a ``.npy`` or a ``.mat`` file.
        scale: Factor.
        offset: Summand.
        ignore: Stored values (in all channels) of pixels without a label.
        threshold: What is above becomes 1, the rest 0.
        key: Variable of a ``.mat`` file, and fields in it after dots:
            ``groundTruth.Boundaries``. None: the only variable.
        votes: Where several annotators marked the image (a Matlab cell, or
            the last axis of ``H x W x N``): a pixel is 1 where at least so
            many of them marked it, else 0.
        invalid: What pixels without a label become.
        kind: One of :data:`KINDS`.

    Raises:
        DataFileError: It holds no numbers, or they cannot be understood
            without a setting; names the setting.
    """
    shown = scale != 1 or kind == 'measure'
    lossy = kind == 'measure' or threshold is not None
    stored = _stored(path, key, votes, shown, lossy)
    labels = [
        _convert(one, path, scale, offset, ignore, threshold, invalid, kind)
        for one in stored
    ]
    if votes is not None:
        return _count_votes(labels, votes, invalid, path)
    if len(labels) > 1:
        raise DataFileError(
            path,
            f'{len(labels)} annotators; set `votes`: by how many of them a '
            'pixel has to be marked',
        )
    return labels[0]


def _stored(
    path: str, key: str | None, votes: int | None, shown: bool, lossy: bool
) -> list[np.ndarray]:
    """The stored array, or those of several annotators."""
    ending = Path(path).suffix.lower()
    if ending == '.mat':
        arrays = read_annotators(path, key)
    elif ending == '.npy':
        arrays = [read_npy(path)]
    else:
        arrays = [read_picture(path, shown, lossy)]
    for array in arrays:
        if array.dtype.kind not in 'biuf':
            raise DataFileError(path, f'values of type {array.dtype}')
    if votes is not None and len(arrays) == 1 and arrays[0].ndim == 3:
        arrays = list(np.moveaxis(arrays[0], -1, 0))
    return arrays


def _convert(
    stored: np.ndarray,
    path: str,
    scale: float,
    offset: float,
    ignore: float | Sequence[float],
    threshold: float | None,
    invalid: float,
    kind: str,
) -> np.ndarray:
    """What a stored array means."""
    ignored = np.isin(stored, ignore)
    if stored.ndim == 3:
        ignored = np.asarray(ignored.all(-1, keepdims=True))
    plain = scale == 1 and offset == 0 and threshold is None
    if plain and not np.size(ignore):
        _check_plain(stored, path, kind)
    if plain and not ignored.any():
        return stored
    value = stored.astype(np.float64) * scale + offset
    if threshold is not None:
        value = np.where(np.isnan(value), np.nan, value > threshold)
    else:
        # What becomes `invalid` by chance (class 256, counted from 1) is no
        # pixel without a label; a task of classes refuses NaN.
        chance = (value == invalid) & (stored != invalid)
        if stored.ndim == 3:
            chance = np.asarray(chance.all(-1, keepdims=True))
        value = np.where(chance, np.nan, value)
    if kind == 'measure' and stored.dtype.kind in 'iu' and stored.ndim == 3:
        value = drop_short(value)
    return np.where(ignored, invalid, value)


def _check_plain(stored: np.ndarray, path: str, kind: str) -> None:
    """Refuse numbers that need a setting, where none is given."""
    if kind == 'binary' and (stored == 255).any():
        others = stored[stored != 255]
        if not others.any():
            raise DataFileError(
                path,
                'all values are 0 or 255, so 255 may be the foreground or '
                'stand for pixels without a label; set scale=1 / 255 in the '
                'folder for the first, ignore=255 for the second',
            )
    if kind == 'measure' and stored.ndim == 3 and stored.dtype.kind in 'iu':
        largest = int(np.abs(stored.astype(np.int64)).max(initial=0))
        if largest > 1:
            raise DataFileError(
                path,
                f'whole numbers up to {largest} where vectors are expected; '
                'for colours set scale=2 / 255 (2 / 65535 for 16 bits) and '
                'offset=-1 in the folder',
            )


def _count_votes(
    labels: Sequence[np.ndarray], votes: int, invalid: float, path: str
) -> np.ndarray:
    """1 where at least ``votes`` labels have 1; unlabelled where too few do
    and one of them says nothing.
    """
    shapes = {label.shape for label in labels}
    if len(shapes) > 1:
        raise DataFileError(path, f'annotators of sizes {sorted(shapes)}')
    if votes > len(labels):
        raise DataFileError(
            path, f'{len(labels)} annotators; votes={votes} needs as many'
        )
    stack = np.stack(labels)
    allowed = np.isin(stack, (0, 1, invalid))
    if not allowed.all():
        found = np.unique(stack[~allowed])[:8].tolist()
        raise DataFileError(
            path, f'annotators have {found}; votes counts 0 and 1'
        )
    marked = (stack == 1).sum(0) >= votes
    silent = (stack == invalid).any(0)
    return np.where(marked, 1, np.where(silent, invalid, 0))


def read_annotators(path: str, key: str | None = None) -> list[np.ndarray]:
    """The arrays of a variable of a Matlab file, one for each annotator.

    A cell, or an array of structs, holds an annotator in each element, as in
    BSDS500 (``groundTruth{i}.Boundaries``); a numeric variable is one.

    Args:
        path: The file.
        key: Variable, and the fields in it after dots. Of structs whose field
            is not named, ``Boundaries`` is taken. None: the only variable.

    Raises:
        DataFileError: There is no such variable or field, or several
            variables and no key.
    """
    if key is None:
        names = mat_variables(path)
        if len(names) != 1:
            raise DataFileError(
                path,
                f'has the variables {", ".join(names) or "(none)"}; set `key` '
                'to the one that is the label',
            )
        key = names[0]
    variable, *fields = key.split('.')
    arrays = list(_leaves(read_mat(path, variable), fields, key, path))
    if not arrays:
        raise DataFileError(path, f'key={key!r}: there is nothing in it')
    return arrays


def _leaves(
    value: np.ndarray, fields: Sequence[str], key: str, path: str
) -> Iterator[np.ndarray]:
    """The numeric arrays in cells and fields."""
    if value.dtype.names:
        field = fields[0] if fields else _BOUNDARIES
        if field not in value.dtype.names:
            raise DataFileError(
                path,
                f'key={key!r}: has the fields {", ".join(value.dtype.names)};'
                ' name the one that is the label after a dot',
            )
        for part in value[field].ravel():
            yield from _leaves(part, fields[1:], key, path)
    elif value.dtype == object:
        for part in value.ravel():
            yield from _leaves(np.asarray(part), fields, key, path)
    elif fields:
        raise DataFileError(path, f'key={key!r}: no field {fields[0]!r}')
    else:
        yield value
