"""Reading numpy's values out of a pickle without letting numpy build them.

numpy trusts what a pickle says of an array's type: a forged one has it take
bytes of the file for addresses. So the names that such a pickle uses are bound
to stand-ins of ours, which know plain numbers, strings and lists.
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
    """A callable that a pickle can call, and do nothing else to."""

    __slots__ = ('_call',)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError('a function has no state')


class _DType:
    """A number's or a string's type, or that of objects."""

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
        """The values in a string of bytes."""
        if isinstance(content, str):
            content = content.encode('latin1')
        if 'O' in self.spec or not isinstance(content, bytes):
            raise pickle.UnpicklingError('objects where numbers belong')
        return np.frombuffer(content, self.spec)


class _Array:
    """An array of up to one dimension."""

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
    # Python 2's way to write bytes; other codings unpack what is small.
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
    """Knows the stand-ins, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a name."""
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f'{module}.{name} is not allowed')
        return _NAMES[module, name]


def _plain(value: Any) -> Any:
    """A copy with lists in the place of arrays."""
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
    """The object in an ``.npy`` file that holds a single one.

    Args:
        content: Of the file.

    Raises:
        Exception: Of any kind, if it is damaged or holds anything but plain
            values.
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
    """The object in a torch file: tensors, or numpy's numbers.

    Args:
        content: Of the file.

    Raises:
        Exception: Of any kind, as of :func:`load_numpy`.
    """
    try:
        return torch.load(io.BytesIO(content), 'cpu', weights_only=True)
    except pickle.UnpicklingError:
        # PASCAL's masks hold numpy numbers, which torch does not trust.
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                (name,) = (
                    n for n in archive.namelist() if n.endswith('data.pkl')
                )
                file = io.BytesIO(archive.read(name))
        else:
            file = io.BytesIO(content)
            # The older form: magic number, version and system come first.
            for _ in range(3):
                _Unpickler(file).load()
        return _plain(_Unpickler(file).load())
