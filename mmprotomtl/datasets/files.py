"""Reading images and labels from disk, with errors that name the file."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from mmprotomtl.utils.errors import DataFileError


class DataFile(NamedTuple):
    """An image or a label on disk, and how to read it.

    Attributes:
        path: The file.
        read: Module-level function (or a partial of one) from path to array.
    """

    path: str
    read: Callable[[str], np.ndarray]

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
            # Decoders raise nearly anything on a damaged file; whatever it is
            # becomes an error that says which file.
            raise DataFileError(
                self.path, f'cannot be read ({type(error).__name__}: {error})'
            ) from error


def read_npy(path: str) -> np.ndarray:
    """A ``.npy`` array; pickled objects are refused."""
    return np.load(path, allow_pickle=False)


def read_picture(path: str) -> np.ndarray:
    """A picture of one channel (``H x W``, stored values) or RGB colours."""
    with Image.open(path) as picture:
        picture.load()
        if picture.mode == 'RGBA':
            picture = picture.convert('RGB')
        return np.asarray(picture)


def read_rgb(path: str) -> np.ndarray:
    """A photograph, ``H x W x 3`` uint8, in RGB order."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert('RGB'))
