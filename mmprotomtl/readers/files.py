"""Files of a data set, and checks whose errors name the file."""

import errno
import math
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.files import check_regular

LOOP = 'a symbolic link that leads back to itself'


class DataFile(NamedTuple):
    """An image or a label on disk, with its reader.

    Attributes:
        path: The file.
        read: Function from path to array. It has to be picklable: a
            module-level function or a partial of one.
        note: Description of the settings with which a label is read. It is
            added to the error if the task refuses the label.
    """

    path: str
    read: Callable[[str], np.ndarray]
    note: str = ''

    def load(self) -> np.ndarray:
        """Read the file.

        Raises:
            DataFileError: The file is missing, damaged or of another format.
        """
        try:
            check_regular(self.path)
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
            # Decoders raise all kinds of exceptions for damaged files; all are
            # converted to an error that names the file.
            raise DataFileError(
                self.path, f'cannot be read{problem}'
            ) from error

    def explained(self, error: DataFileError) -> DataFileError:
        """Return an error of a task about this file, with :attr:`note`."""
        if not self.note or error.path != self.path:
            return error
        return DataFileError(error.path, f'{error.problem} ({self.note})')


def _size(path: str) -> int:
    return Path(path).stat().st_size


def check_folder(path: Path, hint: str) -> None:
    """Check that a folder exists.

    Args:
        path: The folder.
        hint: What the data set expects there; added to the error message.

    Raises:
        DataFileError: The folder is missing, is a file, or cannot be opened.
    """
    problem = 'not a folder'
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            return
    except (FileNotFoundError, NotADirectoryError):
        problem = 'no such folder'
    except OSError as error:
        problem = LOOP if error.errno == errno.ELOOP else str(error.strerror)
    raise DataFileError(str(path), f'{problem}{hint}')


def map_npy(path: str) -> np.ndarray:
    """Memory-map a ``.npy`` array; pickled objects are refused.

    Raises:
        DataFileError: The size of the file does not agree with its header.
    """
    check_regular(path)
    array = np.load(path, mmap_mode='r', allow_pickle=False)
    if not isinstance(array, np.memmap):
        raise DataFileError(path, 'not an .npy file, but an .npz archive')
    size = _size(path)
    if array.offset + array.nbytes != size:
        raise DataFileError(
            path,
            f'{size} bytes, but its header says {array.offset} + '
            f'{array.nbytes} ({array.dtype}, {array.shape}): it is damaged',
        )
    return array


def read_npy(path: str) -> np.ndarray:
    """Read a ``.npy`` array; pickled objects are refused.

    Raises:
        DataFileError: The size of the file does not agree with its header.
            This is checked before memory is allocated.
    """
    return np.array(map_npy(path))


#: Maximum relative difference in aspect ratio between a label and its image,
#: in addition to the effect of rounding to whole pixels.
SHAPE_TOLERANCE = 0.05


def check_size(label: np.ndarray, size: tuple[int, int], path: str) -> None:
    """Check that a label has the aspect ratio of its image.

    A label of another resolution is common and can be resized. A label of
    another aspect ratio belongs to another image, or is rotated.

    Args:
        label: ``H x W`` or ``H x W x L``.
        size: Height and width of the image on disk.
        path: The label's file, for the error message.

    Raises:
        DataFileError: The aspect ratios differ by more than 5 %.
    """
    height, width = label.shape[:2]
    differ = math.log(width / height) - math.log(size[1] / size[0])
    if abs(differ) > SHAPE_TOLERANCE + 1 / min(height, width, *size):
        raise DataFileError(
            path,
            f'{height} x {width} pixels (height x width), but its image is '
            f'{size[0]} x {size[1]}: a label may have another resolution than '
            'its image, but not another aspect ratio',
        )
