"""The labels of NYU-Depth V2: 894, 40 and 13 classes.

The 40 classes are those of Gupta et al. (CVPR 2013), published as the variable
``mapClass`` of ``classMapping40.mat``. The 13 classes are those of Couprie et
al. (2013), published as ``classMapping13`` of ``class13Mapping.mat``. The
tables below were checked against three public copies of ``mapClass``, which
agree with each other and with the names in the official label file. The map
from 40 to 13 classes was checked on the class maps of all 1449 frames.
"""

from functools import partial

import numpy as np

from mmprotomtl.datasets.nyudv2 import CLASSES
from mmprotomtl.readers.files import DataFile
from mmprotomtl.readers.matlab import read_mat
from mmprotomtl.utils.errors import DataFileError

#: Number of the official labels.
NUM_LABELS = 894
#: Classes 1 .. 37 consist of one label each: the labels in class order.
SINGLE = (
    21, 11, 3, 157, 5, 83, 19, 28, 59, 88, 64, 7, 80, 36, 42, 89, 169, 119,
    122, 143, 141, 4, 85, 17, 172, 15, 135, 123, 26, 45, 331, 158, 124, 24,
    144, 136, 55,
)  # fmt: skip
#: Labels of class 38, other structure.
STRUCTURE = (
    8, 25, 33, 38, 51, 53, 57, 58, 62, 65, 79, 94, 104, 112, 134, 153, 215,
    216, 223, 225, 238, 241, 242, 256, 295, 301, 339, 342, 354, 363, 372, 380,
    392, 408, 412, 453, 456, 463, 477, 497, 541, 550, 553, 567, 573, 582, 591,
    609, 612, 615, 642, 645, 657, 658, 659, 663, 667, 668, 686, 700, 702, 777,
    778, 782, 850, 861, 868, 874,
)  # fmt: skip
#: Labels of class 39, other furniture. All labels in none of these lists are
#: class 40, other prop.
FURNITURE = (
    12, 43, 48, 50, 87, 106, 111, 161, 163, 174, 183, 204, 214, 219, 221, 224,
    236, 262, 278, 291, 298, 313, 343, 344, 356, 359, 373, 393, 401, 414, 418,
    419, 430, 443, 444, 447, 448, 457, 458, 460, 462, 475, 479, 485, 486, 493,
    494, 498, 499, 509, 510, 515, 521, 524, 540, 549, 551, 554, 556, 558, 576,
    580, 608, 625, 703, 734, 770, 772, 797, 800, 803, 804, 813, 814, 815, 820,
    829, 835, 858, 863, 882, 892,
)  # fmt: skip
#: Table from class 0 .. 40 to class 0 .. 13; 0 is unlabelled.
THIRTEEN = (
    0, 12, 5, 6, 1, 4, 9, 10, 12, 13, 6, 8, 6, 13, 10, 6, 13, 6, 7, 7, 5, 7,
    3, 2, 6, 11, 7, 7, 7, 7, 7, 7, 6, 7, 7, 7, 7, 7, 7, 6, 7,
)  # fmt: skip


def forty_classes(path: str | None = None) -> np.ndarray:
    """Return the table from label 0 .. 894 to class 0 .. 40.

    Args:
        path: Path of ``classMapping40.mat``; None: the built-in table.

    Returns:
        uint8, length 895; class 0 is unlabelled.

    Raises:
        DataFileError: The file has no such table.
    """
    if path is not None:
        return _read_table(path, 'mapClass', NUM_LABELS, 40)
    table = np.full(NUM_LABELS + 1, 40, np.uint8)
    table[0] = 0
    table[list(SINGLE)] = np.arange(1, 38)
    table[list(STRUCTURE)] = 38
    table[list(FURNITURE)] = 39
    return table


def thirteen_classes(path: str | None = None) -> np.ndarray:
    """Return the table from class 0 .. 40 to class 0 .. 13.

    Args:
        path: Path of ``class13Mapping.mat``; None: the built-in table.

    Returns:
        uint8, length 41; class 0 is unlabelled.

    Raises:
        DataFileError: The file has no such table.
    """
    if path is not None:
        return _read_table(path, 'classMapping13', 40, 13)
    return np.array(THIRTEEN, np.uint8)


def _read_table(path: str, key: str, length: int, classes: int) -> np.ndarray:
    table = DataFile(path, partial(read_mat, key=key)).load()
    if table.dtype.names and 'labels13' in table.dtype.names:
        table = table['labels13'][0, 0]
    values = table.ravel()
    if values.shape != (length,) or values.dtype.kind not in 'iuf':
        raise DataFileError(
            path,
            f'{key} has shape {table.shape} and type {table.dtype}; expected '
            f'{length} class numbers',
        )
    allowed = np.isin(values, np.arange(1, classes + 1))
    if not allowed.all():
        raise DataFileError(
            path,
            f'{key} has {values[~allowed][0]}; allowed are 1 .. {classes}',
        )
    return np.append(0, values).astype(np.uint8)


def check_names(names: list[str], table: np.ndarray, path: str) -> None:
    """Check that a label file and a class table number the labels alike.

    Args:
        names: Names of the labels 1 .. 894.
        table: Result of :func:`forty_classes`.
        path: The official label file, for the error message.

    Raises:
        DataFileError: There are not 894 names, or a label with the name of
            one of the 40 classes is mapped to another class.
    """
    if len(names) != NUM_LABELS:
        raise DataFileError(
            path, f'{len(names)} names of labels, expected {NUM_LABELS}'
        )
    for label, name in enumerate(names, 1):
        found = CLASSES[table[label] - 1]
        if name in CLASSES and found != name:
            raise DataFileError(
                path,
                f'label {label} is {name!r}, but the class map says that it '
                f'is {found!r}: the two files are of different versions',
            )
