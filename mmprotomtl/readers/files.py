"""Files of a data set, with errors that name the file."""

import errno
import math
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmprotomtl.utils.errors import DataFileError

LOOP = 'a symbolic link that leads back to itself'


class DataFile(NamedTuple):
    """An image or a label on disk, and how to read it.

    Attributes:
        path: The file.
        read: Module-level function (or a partial of one) from path to array.
        note: What a user has to know of the settings with which a label is
            read; added to the error where its task refuses it.
    """

    path: str
    read: Callable[[str], np.ndarray]
    note: str = ''

    def load(self) -> np.ndarray:
        """Read it.

        Raises:
            DataFileError: It is missing, damaged or not of its format.
        """
        try:
            return self.read(self.path)
        except DataFileError:
            raise
        except FileNotFoundError:
            raise DataFileError(self.path, 'no such file') from None
        except Exception as error:
            problem = f' ({type(error).__name__}: {error})'
            if isinstance(error, OSError) and error.errno == errno.ELOOP:
                problem = f': {LOOP}'
            elif Path(self.path).is_file() and _size(self.path) == 0:
                problem = ': 0 bytes'
            # Decoders raise nearly anything on a damaged file; whatever it is
            # becomes an error that says which file.
            raise DataFileError(
                self.path, f'cannot be read{problem}'
            ) from error

    def explained(self, error: DataFileError) -> DataFileError:
        """What a task said of the file's label, with :attr:`note`."""
        if not self.note or error.path != self.path:
            return error
        return DataFileError(error.path, f'{error.problem} ({self.note})')


def _size(path: str) -> int:
    return Path(path).stat().st_size


def check_folder(path: Path, hint: str) -> None:
    """Refuse what is no folder.

    Args:
        path: The folder.
        hint: What the data set expects there, for the error.

    Raises:
        DataFileError: It is missing, a file, or cannot be opened.
    """
    problem = 'no folder'
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            return
    except (FileNotFoundError, NotADirectoryError):
        problem = 'no such folder'
    except OSError as error:
        problem = LOOP if error.errno == errno.ELOOP else str(error.strerror)
    raise DataFileError(str(path), f'{problem}{hint}')


def map_npy(path: str) -> np.ndarray:
    """A ``.npy`` array, mapped and not read; pickled objects are refused.

    Raises:
        DataFileError: The file has not the size that its header says.
    """
    array = np.load(path, mmap_mode='r', allow_pickle=False)
    if not isinstance(array, np.memmap):
        raise DataFileError(path, 'no .npy file, but an archive of several')
    size = _size(path)
    if array.offset + array.nbytes != size:
        raise DataFileError(
            path,
            f'{size} bytes, but its header says {array.offset} + '
            f'{array.nbytes} ({array.dtype}, {array.shape}): it is damaged',
        )
    return array


def read_npy(path: str) -> np.ndarray:
    """A ``.npy`` array; pickled objects are refused.

    Raises:
        DataFileError: The file has not the size that its header says. Nothing
            is allocated before that is known.
    """
    return np.array(map_npy(path))


#: By how much the shape (width over height) of a label may differ from that
#: of its image, beside what rounding to whole pixels explains.
SHAPE_TOLERANCE = 0.05


def check_size(label: np.ndarray, size: tuple[int, int], path: str) -> None:
    """Refuse a label that can't be one of its image.

    A label of another resolution is common and is resized; one of another
    shape is of another image, or turned.

    Args:
        label: ``H x W`` or ``H x W x L``.
        size: Height and width of the image on disk.
        path: The label's file.

    Raises:
        DataFileError: The shapes differ by more than 5 %.
    """
    height, width = label.shape[:2]
    differ = math.log(width / height) - math.log(size[1] / size[0])
    if abs(differ) > SHAPE_TOLERANCE + 1 / min(height, width, *size):
        raise DataFileError(
            path,
            f'{height} x {width} pixels (height x width), but its image is '
            f'{size[0]} x {size[1]}: a label may have another resolution than '
            'its image, not another shape',
        )
