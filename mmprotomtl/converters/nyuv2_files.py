"""The official files of NYU-Depth V2: opened, and checked to be those."""

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
#: Variable of the official splits -> split.
SPLITS = dict(train='trainNdxs', val='testNdxs')


def h5py_module() -> Any:
    """h5py, which reads Matlab files of version 7.3.

    Raises:
        ImportError: It is not there; says how to get it.
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
    """The official file, open for reading.

    Raises:
        DataFileError: It is missing, damaged or no HDF5.
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


#: The same, once in each process.
opened_mat = lru_cache(maxsize=1)(open_mat)


def check_mat(path: str, depth: str, table: np.ndarray) -> int:
    """Check that a file is the official one and return its frames' number.

    Args:
        path: ``nyu_depth_v2_labeled.mat``.
        depth: The variable that holds depth.
        table: Label -> one of 40 classes.

    Raises:
        DataFileError: It is not; names the variable and what was expected.
    """
    height, width = SIZE
    with open_mat(path) as file:
        number = file['images'].shape[0] if 'images' in file else 0
        frame = (number, width, height)
        # Shapes as HDF5 shows what Matlab has the other way round.
        expected: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
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
    """The labels' names, a cell array of texts.

    Raises:
        DataFileError: It is something else.
    """
    try:
        return [
            ''.join(map(chr, file[item][()].ravel()))
            for item in file['names'][()].ravel()
        ]
    except (TypeError, ValueError, KeyError, OSError) as error:
        raise DataFileError(
            path, f'names is no cell array of texts ({error})'
        ) from error


def read_splits(path: str, number: int) -> dict[str, list[int]]:
    """Split -> its frames, counted from 1, in the order of the file.

    Args:
        path: ``splits.mat``.
        number: How many frames there are.

    Raises:
        DataFileError: It is no list of frames, or a frame comes twice.
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
        raise DataFileError(path, f'frame {frame} is in it {most} times')
    return splits
