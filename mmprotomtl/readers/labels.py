"""Read labels from disk and convert them to what their task expects.

Labels that are stored as images are read by :mod:`.pictures`, which decides
how the mode and metadata of an image are interpreted.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mmprotomtl.utils.errors import DataFileError

from .files import read_npy
from .matlab import mat_variables, read_mat
from .pictures import LABEL_ENDINGS, drop_short, read_picture

#: File name suffixes of labels in a user's own folder.
OWN_ENDINGS = (*LABEL_ENDINGS, '.npy', '.mat')
#: Kinds of label values, see :attr:`mmprotomtl.tasks.Task.label_kind`.
KINDS = ('class', 'binary', 'measure')
#: Default field of Matlab structs, as in BSDS500.
_BOUNDARIES = 'Boundaries'


def read_classes(path: str, unlabelled: int = -1) -> np.ndarray:
    """Read MTAN's ``.npy`` of classes ``H x W``; 255 = unlabelled.

    Args:
        path: The file.
        unlabelled: Stored value of unlabelled pixels.
    """
    label = read_npy(path)
    if label.dtype == np.int8:
        label = label.astype(np.int16)  # int8 cannot store 255
    return np.where(label == unlabelled, 255, label)


def read_classes_from_1(path: str) -> np.ndarray:
    """Read NYUD-v2's image of classes, stored as 1 .. 40, 0 = unlabelled.

    Returns:
        Classes 0 .. 39, 255 = unlabelled, int32 ``H x W``.
    """
    label = read_picture(path).astype(np.int32)
    # Stored values above 40 must remain invalid; 256 must not become 255.
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
    """Read a label of a user's own folder.

    The label is the stored value x ``scale`` + ``offset``.

    For images with a palette or fewer than 8 bits, the stored values are the
    raw numbers (palette indices, 0 .. 15 for 4 bits) if ``scale`` is 1 and
    ``kind`` is not ``measure``; otherwise they are the displayed grey levels
    or colours 0 .. 255.

    Args:
        path: An image, ``.npy`` or ``.mat`` file.
        scale: Factor.
        offset: Summand.
        ignore: Stored values of unlabelled pixels. A pixel of several channels
            is unlabelled if all its channels have such values.
        threshold: Values (after ``scale`` and ``offset``) above it become 1,
            all others 0. None: no threshold.
        key: Variable of a ``.mat`` file, followed by fields after dots:
            ``groundTruth.Boundaries``. None: the only variable.
        votes: For labels of several annotators (a Matlab cell, or the last
            axis of ``H x W x N``): a pixel becomes 1 if at least this many
            annotators marked it, else 0.
        invalid: Value of unlabelled pixels in the result.
        kind: One of :data:`KINDS`.

    Returns:
        ``H x W`` or ``H x W x L``.

    Raises:
        DataFileError: The file has no numbers, or a setting is needed to
            interpret them; the message names the setting.
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
            f'{len(labels)} annotators; set `votes`, the number of annotators '
            'that must have marked a pixel',
        )
    return labels[0]


def _stored(
    path: str, key: str | None, votes: int | None, shown: bool, lossy: bool
) -> list[np.ndarray]:
    """Read the stored arrays, one per annotator."""
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
    """Convert a stored array to a label."""
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
        # A stored value may be converted to `invalid` by accident (class 256,
        # counted from 1). It becomes NaN, which the task refuses, because it
        # must not silently become unlabelled.
        chance = (value == invalid) & (stored != invalid)
        if stored.ndim == 3:
            chance = np.asarray(chance.all(-1, keepdims=True))
        value = np.where(chance, np.nan, value)
    if kind == 'measure' and stored.dtype.kind in 'iu' and stored.ndim == 3:
        value = drop_short(value)
    return np.where(ignored, invalid, value)


def _check_plain(stored: np.ndarray, path: str, kind: str) -> None:
    """Refuse ambiguous values if no setting says how to interpret them."""
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
                f'integers up to {largest} where unit vectors are expected; '
                'for colours set scale=2 / 255 (2 / 65535 for 16 bits) and '
                'offset=-1 in the folder',
            )


def _count_votes(
    labels: Sequence[np.ndarray], votes: int, invalid: float, path: str
) -> np.ndarray:
    """Combine the labels of several annotators.

    A pixel becomes 1 if at least ``votes`` annotators marked it. Otherwise it
    becomes ``invalid`` if an annotator has no label there, else 0.
    """
    shapes = {label.shape for label in labels}
    if len(shapes) > 1:
        raise DataFileError(path, f'annotators of sizes {sorted(shapes)}')
    if votes > len(labels):
        raise DataFileError(
            path, f'{len(labels)} annotators, fewer than votes={votes}'
        )
    stack = np.stack(labels)
    allowed = np.isin(stack, (0, 1, invalid))
    if not allowed.all():
        found = np.unique(stack[~allowed])[:8].tolist()
        raise DataFileError(
            path, f'annotators have {found}; `votes` needs values 0 and 1'
        )
    marked = (stack == 1).sum(0) >= votes
    silent = (stack == invalid).any(0)
    return np.where(marked, 1, np.where(silent, invalid, 0))


def read_annotators(path: str, key: str | None = None) -> list[np.ndarray]:
    """Read the arrays of a variable of a Matlab file, one per annotator.

    A cell array or struct array has one annotator per element, as in BSDS500
    (``groundTruth{i}.Boundaries``). A numeric variable is a single annotator.

    Args:
        path: The file.
        key: Variable, followed by fields after dots. The default field of a
            struct is ``Boundaries``. None: the only variable.

    Raises:
        DataFileError: There is no such variable or field, or ``key`` is None
            and there are several variables.
    """
    if key is None:
        names = mat_variables(path)
        if len(names) != 1:
            raise DataFileError(
                path,
                f'has the variables {", ".join(names) or "(none)"}; set `key` '
                'to the one with the label',
            )
        key = names[0]
    variable, *fields = key.split('.')
    arrays = list(_leaves(read_mat(path, variable), fields, key, path))
    if not arrays:
        raise DataFileError(path, f'key={key!r}: the variable is empty')
    return arrays


def _leaves(
    value: np.ndarray, fields: Sequence[str], key: str, path: str
) -> Iterator[np.ndarray]:
    """Yield the numeric arrays in nested cells and fields."""
    if value.dtype.names:
        field = fields[0] if fields else _BOUNDARIES
        if field not in value.dtype.names:
            raise DataFileError(
                path,
                f'key={key!r}: has the fields {", ".join(value.dtype.names)};'
                ' add the one with the label to `key`, after a dot',
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
