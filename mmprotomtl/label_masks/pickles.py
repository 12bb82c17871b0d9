"""Read numpy values from an untrusted pickle, safely.

numpy trusts the array type in a pickle: a forged type makes it interpret bytes
of the file as pointers. So the names that such a pickle uses are mapped to the
substitutes below, which support plain numbers, strings and lists only.
"""

import io
import pickle
import re
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class _Function:
    """A callable that a pickle can call, but not modify."""

    __slots__ = ('_call',)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError('a function has no state')


class _DType:
    """Substitute of ``numpy.dtype``: numbers, strings and objects only."""

    __slots__ = ('spec',)

    def __init__(self, spec: Any, *_: Any) -> None:
        if not re.fullmatch(r'b1|[iuf][1248]|U\d{1,4}|O8?', str(spec)):
            raise pickle.UnpicklingError(f'an array of {spec!r}')
        self.spec = str(spec)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, subarray, names, fields, *_ = state
        if subarray is not None or names is not None or fields is not None:
            raise pickle.UnpicklingError('an array of records')
        if order == '>':
            self.spec = f'>{self.spec}'

    def read(self, content: Any) -> np.ndarray:
        """Decode raw bytes to values."""
        if isinstance(content, str):
            content = content.encode('latin1')
        if 'O' in self.spec or not isinstance(content, bytes):
            raise pickle.UnpicklingError('objects where numbers belong')
        return np.frombuffer(content, self.spec)


class _Array:
    """Substitute of ``numpy.ndarray``, of at most one dimension."""

    __slots__ = ('values',)

    def __init__(self, *_: Any) -> None:
        self.values: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, _, content = state
        if len(shape) > 1 or not isinstance(dtype, _DType):
            raise pickle.UnpicklingError(f'an array of shape {shape}')
        if isinstance(content, list):
            values = content
        else:
            values = dtype.read(content).tolist()
        if len(values) != (shape[0] if shape else 1):
            raise pickle.UnpicklingError(f'{len(values)} values for {shape}')
        self.values = values if shape else values[0]


def _scalar(dtype: _DType, content: Any) -> Any:
    (value,) = dtype.read(content).tolist()
    return value


def _encode(text: str, coding: str) -> bytes:
    # Protocol 2 stores bytes as latin1 text. Other codecs are refused: some
    # of them decompress, and a small file could fill the memory.
    if coding not in ('latin1', 'latin-1'):
        raise pickle.UnpicklingError(f'coding {coding!r}')
    return text.encode('latin1')


_NAMES = {
    ('numpy', 'ndarray'): _Function(_Array),
    ('numpy', 'dtype'): _Function(_DType),
    ('_codecs', 'encode'): _Function(_encode),
    ('collections', 'OrderedDict'): _Function(dict),
}
for _package in ('numpy.core', 'numpy._core'):
    _NAMES[f'{_package}.multiarray', '_reconstruct'] = _Function(_Array)
    _NAMES[f'{_package}.multiarray', 'scalar'] = _Function(_scalar)


class _Unpickler(pickle.Unpickler):
    """Unpickler that resolves the substitutes above and no other name."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the substitute of a name; refuse all other names."""
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f'{module}.{name} is not allowed')
        return _NAMES[module, name]


def _plain(value: Any) -> Any:
    """Return a copy with arrays replaced by lists."""
    if isinstance(value, _Array):
        return _plain(value.values)
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise pickle.UnpicklingError(f'a {type(value).__name__}')


def load_numpy(content: bytes) -> Any:
    """Load an ``.npy`` file that contains a single object, such as a dict.

    Args:
        content: Content of the file.

    Raises:
        Exception: Any exception, if the file is damaged or contains anything
            but plain values.
    """
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    if shape != () or dtype.kind != 'O':
        raise ValueError(f'holds {dtype} {shape}, not one dict')
    return _plain(_Unpickler(file, encoding='latin1').load())


def load_torch(content: bytes) -> Any:
    """Load a torch file with tensors or numpy numbers.

    Args:
        content: Content of the file.

    Raises:
        Exception: Any exception, as for :func:`load_numpy`.
    """
    try:
        return torch.load(io.BytesIO(content), 'cpu', weights_only=True)
    except pickle.UnpicklingError:
        # The masks for PASCAL-Context contain numpy numbers, which torch
        # refuses with weights_only.
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                (name,) = (
                    n for n in archive.namelist() if n.endswith('data.pkl')
                )
                file = io.BytesIO(archive.read(name))
        else:
            file = io.BytesIO(content)
            # Older torch format: three pickles (magic number, protocol
            # version, system info) come first.
            for _ in range(3):
                _Unpickler(file).load()
        return _plain(_Unpickler(file).load())
