"""Open and check the official files of NYU-Depth V2."""

from collections import Counter
from functools import lru_cache, partial
from typing import Any

import numpy as np

from mmprotomtl.readers.files import DataFile
from mmprotomtl.readers.matlab import read_mat
from mmprotomtl.utils.errors import DataFileError

from .nyuv2_classes import NUM_LABELS, check_names

#: Height and width of the official frames.
SIZE = (480, 640)
#: Split -> its variable in the official ``splits.mat``.
SPLITS = dict(train='trainNdxs', val='testNdxs')


def h5py_module() -> Any:
    """Import h5py, which reads Matlab files of version 7.3.

    Raises:
        ImportError: h5py is not installed; the message says how to install it.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            'nyu_depth_v2_labeled.mat is HDF5, which h5py reads; install it '
            f"with: pip install 'h5py>=3.8' ({error})"
        ) from error
    return h5py


def open_mat(path: str) -> Any:
    """Open the official file for reading, as a ``h5py.File``.

    Raises:
        DataFileError: The file is missing, damaged or not HDF5.
    """
    h5py = h5py_module()
    try:
        return h5py.File(path, 'r')
    except FileNotFoundError:
        raise DataFileError(path, 'no such file') from None
    except OSError as error:
        raise DataFileError(
            path,
            f'cannot be opened as Matlab 7.3, which is HDF5 ({error}); is it '
            'nyu_depth_v2_labeled.mat, and all of its 2.8 GB?',
        ) from error


#: Like :func:`open_mat`, but each process opens the file only once.
opened_mat = lru_cache(maxsize=1)(open_mat)


def check_mat(path: str, depth: str, table: np.ndarray) -> int:
    """Check that a file is the official one and count its frames.

    Args:
        path: Path of ``nyu_depth_v2_labeled.mat``.
        depth: Name of the variable with depth.
        table: Table from label to one of 40 classes, see
            :func:`~mmprotomtl.converters.nyuv2_classes.forty_classes`.

    Returns:
        The number of frames.

    Raises:
        DataFileError: A variable is not as expected; the message names it and
            says what was expected.
    """
    height, width = SIZE
    with open_mat(path) as file:
        number = file['images'].shape[0] if 'images' in file else 0
        frame = (number, width, height)
        # HDF5 lists the axes in reverse order of Matlab.
        expected: dict[str, tuple[tuple[Any, ...], tuple[str, ...]]] = {
            'images': ((number, 3, width, height), ('uint8',)),
            'labels': (frame, ('uint16',)),
            depth: (frame, ('float32', 'float64')),
            'names': ((1, NUM_LABELS), ('object',)),
        }
        for key, (shape, types) in expected.items():
            if key not in file:
                raise DataFileError(
                    path,
                    f'no variable {key!r} in it; it has '
                    f'{", ".join(sorted(file)) or "none"}',
                )
            found = getattr(file[key], 'shape', 'a group')
            dtype = str(getattr(file[key], 'dtype', 'things'))
            if found != shape or dtype not in types:
                raise DataFileError(
                    path,
                    f'{key} is {found} of {dtype}, expected {shape} of '
                    f'{" or ".join(types)}',
                )
        check_names(read_names(file, path), table, path)
        return number


def read_names(file: Any, path: str) -> list[str]:
    """Read the names of the labels, a cell array of strings.

    Raises:
        DataFileError: The variable ``names`` is not a cell array of strings.
    """
    try:
        return [
            ''.join(map(chr, file[item][()].ravel()))
            for item in file['names'][()].ravel()
        ]
    except (TypeError, ValueError, KeyError, OSError) as error:
        raise DataFileError(
            path, f'names is not a cell array of strings ({error})'
        ) from error


def read_splits(path: str, number: int) -> dict[str, list[int]]:
    """Read the official splits.

    Args:
        path: Path of ``splits.mat``.
        number: Number of frames in the data set.

    Returns:
        Split -> numbers of its frames, counted from 1, in the file's order.

    Raises:
        DataFileError: A split is not a list of frame numbers, or a frame is
            listed twice.
    """
    splits = {}
    for split, key in SPLITS.items():
        frames = DataFile(path, partial(read_mat, key=key)).load().ravel()
        allowed = np.isin(frames, np.arange(1, number + 1))
        if not frames.size or not allowed.all():
            wrong = frames[~allowed][:1].tolist() or 'nothing'
            raise DataFileError(
                path, f'{key} has {wrong}; expected frames of 1 .. {number}'
            )
        splits[split] = [int(frame) for frame in frames]
    times = Counter(frame for part in splits.values() for frame in part)
    frame, most = times.most_common(1)[0]
    if most > 1:
        raise DataFileError(path, f'frame {frame} is listed {most} times')
    return splits
