"""Read Matlab files, after a check of their structure.

scipy uses type numbers from the file as array indices without a check, so a
damaged file can crash the process. Therefore the file is first traversed in
the same way as scipy will do it, and refused if any number in it is invalid.
"""

import io
import math
import zlib
from collections.abc import Iterator

import numpy as np
from scipy.io import loadmat

from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.files import read_bytes

#: Data types of stored values: integers, floats and text.
_VALUES = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18)
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
#: Array classes of variables.
_CELL, _STRUCT, _CHAR, _NUMBERS = 1, 2, 4, range(6, 16)
_COMPLEX = 0x800
#: Maximum size of all variables of a file, decompressed, in bytes; the largest
#: labels of common data sets have 30 million.
MAX_BYTES = 2**28
#: Maximum number of cells and fields in a variable. scipy makes an object of
#: each, also of an empty one, which takes 8 bytes in the file.
MAX_PARTS = 1_000_000
#: Maximum depth of nested cells and structs.
MAX_DEPTH = 20


def read_mat(path: str, key: str) -> np.ndarray:
    """Read one variable of a Matlab file (version 5 to 7).

    Args:
        path: The file.
        key: Name of the variable.

    Raises:
        DataFileError: There is no such variable, or the file is damaged.
    """
    content = read_bytes(path, MAX_BYTES)
    names = []
    try:
        for name in _walk_file(content, key):
            names.append(name)
            if name == key:
                break
    except (ValueError, zlib.error) as error:
        raise DataFileError(
            path, f'cannot be read: no Matlab file of version 5 to 7 ({error})'
        ) from error
    if key not in names:
        raise DataFileError(
            path,
            f'no variable {key!r} in it; it has {", ".join(names) or "none"}',
        )
    try:
        return loadmat(io.BytesIO(content), variable_names=[key])[key]
    except Exception as error:
        raise DataFileError(
            path, f'cannot be read ({type(error).__name__}: {error})'
        ) from error


def mat_variables(path: str) -> list[str]:
    """List the names of the variables in a Matlab file (version 5 to 7).

    Raises:
        DataFileError: The file is damaged.
    """
    try:
        return list(_walk_file(read_bytes(path, MAX_BYTES), None))
    except (ValueError, zlib.error) as error:
        raise DataFileError(
            path, f'cannot be read: no Matlab file of version 5 to 7 ({error})'
        ) from error


def _walk_file(content: bytes, key: str | None) -> Iterator[str]:
    """Yield the names of the variables; check the variable ``key`` in full.

    Raises:
        ValueError: The structure of the file is invalid.
    """
    # Little-endian files only, as all machines of today write them.
    if content[126:128] != b'IM':
        raise ValueError(f'{len(content)} bytes without its header')
    place, left = 128, MAX_BYTES
    while place < len(content):
        kind, size, start, end = _Walk(content).tag(place, small=False)
        part = content
        if kind == _COMPRESSED:
            unpack = zlib.decompressobj()
            # A length of 0 would mean that there is no limit.
            part = unpack.decompress(content[start:end], max(left, 1))
            if not unpack.eof:
                raise ValueError(
                    f'packed, and cut off or more than {MAX_BYTES} bytes'
                )
            left -= len(part)
            kind, size, start, _ = _Walk(part).tag(0, small=False)
        if kind != _MATRIX or not size:
            raise ValueError(f'an element of type {kind}, {size} bytes')
        walk = _Walk(part)
        name = walk.header(start, start + size)[0]
        if name == key:
            walk.matrix(start, start + size)
        yield name
        place = end


class _Walk:
    """Traverses the elements in a byte string.

    All methods raise ValueError if an element is invalid.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.parts_left = MAX_PARTS

    def numbers(self, start: int, end: int) -> list[int]:
        """Return the unsigned 32-bit integers between two offsets."""
        return np.frombuffer(self.content[start:end], '<u4').tolist()

    def tag(
        self, place: int, stop: int | None = None, small: bool = True
    ) -> tuple[int, int, int, int]:
        """Read the tag of the element at ``place``.

        Returns:
            Data type, size in bytes, offset of the data, and offset of the
            next element.
        """
        stop = len(self.content) if stop is None else stop
        if place + 8 > stop:
            raise ValueError(f'cut off at byte {place}')
        kind, size = self.numbers(place, place + 8)
        if small and kind >> 16:
            kind, size = kind & 0xFFFF, kind >> 16
            if size > 4:
                raise ValueError(f'{size} bytes in a field of 4')
            return kind, size, place + 4, place + 8
        start = place + 8
        # Compressed elements are not padded to 8 bytes.
        fill = 0 if kind == _COMPRESSED else -size % 8
        if start + size > stop:
            raise ValueError(f'{size} bytes at {place}, of {stop}')
        return kind, size, start, min(start + size + fill, stop)

    def value(
        self, place: int, stop: int, kinds: tuple[int, ...] = _VALUES
    ) -> tuple[int, int, int]:
        """Return start and end of a value, and the offset after it."""
        kind, size, start, after = self.tag(place, stop)
        if kind not in kinds:
            raise ValueError(f'a value of type {kind} at byte {place}')
        return start, start + size, after

    def header(
        self, place: int, stop: int
    ) -> tuple[str, int, bool, list[int], int]:
        """Return name, class, whether complex, shape, offset of the values."""
        start, end, place = self.value(place, stop, (_UINT32,))
        if end - start != 8:
            raise ValueError('flags of another size')
        (flags, _) = self.numbers(start, end)
        start, end, place = self.value(place, stop, (_INT32,))
        if (end - start) % 4 or not 8 <= end - start <= 32:
            raise ValueError('a shape of another size')
        shape = self.numbers(start, end)
        start, end, place = self.value(place, stop, (_INT8,))
        name = self.content[start:end].decode('latin1')
        return name, flags & 0xFF, bool(flags & _COMPLEX), shape, place

    def matrix(self, place: int, stop: int, depth: int = 0) -> None:
        """Check a whole variable, or one field or cell of it."""
        if depth > MAX_DEPTH:
            raise ValueError(f'more than {MAX_DEPTH} levels')
        _, kind, is_complex, shape, place = self.header(place, stop)
        inner = math.prod(shape)
        if kind in (_CELL, _STRUCT):
            if kind == _STRUCT:
                start, end, place = self.value(place, stop, (_INT32,))
                length = self.numbers(start, end)
                start, end, place = self.value(place, stop, (_INT8,))
                if len(length) != 1 or not 0 < length[0] <= 64:
                    raise ValueError(f'names of fields of {length} letters')
                inner *= (end - start) // length[0]
            self.parts_left -= max(inner, math.prod(shape))
            if inner * 8 > stop - place or self.parts_left < 0:
                raise ValueError(f'{inner} parts in {stop - place} bytes')
            for _ in range(inner):
                part, size, start, place = self.tag(place, stop, small=False)
                if part != _MATRIX:
                    raise ValueError(f'a part of type {part}')
                if size:
                    self.matrix(start, start + size, depth + 1)
        elif kind in _NUMBERS or kind == _CHAR:
            for _ in range(2 if is_complex else 1):
                *_, place = self.value(place, stop)
        else:
            raise ValueError(f'a variable of class {kind}')
        # scipy would continue after the values, not after the stated size.
        if place != stop:
            raise ValueError(f'{stop - place} bytes more than its values')
