"""Read files of ``torch.save`` without running anything in them.

``torch.load(weights_only=True)`` is not enough for us: before torch 2.6 it can
be made to run code (CVE-2025-32434), it refuses what mmengine stores beside
the weights unless numpy's own functions are allowed, which are not safe
(:mod:`.unpickling`), and it allocates whatever size a file claims to have.
"""

import io
import math
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO

import torch
from torch import nn

from .unpickling import (
    ForbiddenName,
    Function,
    SafeUnpickler,
    Unfinished,
    are_sizes,
    finish,
)

#: First two numbers of the format of torch before 1.6.
_LEGACY = (0x1950A86A20F9469CFC6C, 1001)
_DTYPES = {
    'Double': torch.float64, 'Float': torch.float32, 'Half': torch.float16,
    'BFloat16': torch.bfloat16, 'Long': torch.int64, 'Int': torch.int32,
    'Short': torch.int16, 'Char': torch.int8, 'Byte': torch.uint8,
    'Bool': torch.bool, 'ComplexFloat': torch.complex64,
    'ComplexDouble': torch.complex128,
}  # fmt: skip
#: Name of torch's function -> method of :class:`_TorchFile`.
_REBUILD = {
    '_rebuild_tensor_v2': '_tensor', '_rebuild_tensor_v3': '_typed',
    '_rebuild_parameter': '_parameter',
}  # fmt: skip
#: The tensors of a file may together have this many times its bytes (weights
#: that several names share are counted for each), and this many in any case.
SHARING, SMALL = 4, 2**26

MapLocation = Callable[..., Any] | dict[str, str] | str | torch.device | None


class _Kind:
    """Stands for a class of storages, such as ``torch.FloatStorage``."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _Storage:
    """The bytes that tensors share."""

    def __init__(self, kind: _Kind, count: int, location: str) -> None:
        self.dtype = kind.dtype
        self.size = count * kind.dtype.itemsize
        self.location = location
        self.content: Any = None
        self.moved: torch.UntypedStorage | None = None

    def storage(self, map_location: MapLocation) -> torch.UntypedStorage:
        """Return torch's object, on its device."""
        if self.moved is None:
            raw = torch.empty(0, dtype=torch.uint8)
            if self.size:
                raw = torch.frombuffer(self.content, dtype=torch.uint8)
            self.moved = _move(raw, self.location, map_location)
        return self.moved


def _move(
    raw: torch.Tensor, location: str, map_location: MapLocation
) -> torch.UntypedStorage:
    if callable(map_location):
        moved: Any = map_location(raw.untyped_storage(), location)
        storage: torch.UntypedStorage = moved
        return raw.untyped_storage() if moved is None else storage
    if isinstance(map_location, dict):
        map_location = map_location.get(location)
    return raw.to(map_location or 'cpu').untyped_storage()


class _Tensor(Unfinished):
    """A view of a storage."""

    __slots__ = ('dtype', 'file', 'parameter', 'requires_grad', 'storage',
                 'view')  # fmt: skip

    def __init__(
        self, file: '_TorchFile', storage: Any, offset: Any, size: Any,
        stride: Any, requires_grad: Any, dtype: Any,
    ) -> None:  # fmt: skip
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError('a tensor without numbers')
        numbers = [(offset,), size, stride]
        if not all(map(are_sizes, numbers)) or len(size) != len(stride):
            raise pickle.UnpicklingError('a tensor without shape or strides')
        self.file, self.storage = file, storage
        self.dtype = storage.dtype if dtype is None else dtype
        self.view = offset, size, stride
        self.parameter, self.requires_grad = False, bool(requires_grad)
        last = offset + sum(
            (count - 1) * step
            for count, step in zip(size, stride, strict=True)
        )
        count = math.prod(size)
        if count and (last + 1) * self.dtype.itemsize > storage.size:
            raise pickle.UnpicklingError(
                f'a tensor of shape {tuple(size)} in {storage.size} bytes'
            )
        file.count(count * self.dtype.itemsize, size)

    def result(self, resolve: Callable[[Any], Any]) -> torch.Tensor:
        del resolve
        storage = self.storage.storage(self.file.map_location)
        tensor = torch.empty(0, dtype=self.dtype, device=storage.device)
        tensor.set_(storage, *self.view)
        if self.parameter:
            return nn.Parameter(tensor, self.requires_grad)
        return tensor.requires_grad_(self.requires_grad)


def _size(size: Any) -> torch.Size:
    if not are_sizes(tuple(size)):
        raise pickle.UnpicklingError('a size that is none')
    return torch.Size(size)


def _device(kind: Any, number: Any = None) -> torch.device:
    if not isinstance(kind, str) or not isinstance(number, int | None):
        raise pickle.UnpicklingError('a device that is none')
    return torch.device(kind) if number is None else torch.device(kind, number)


class _TorchFile:
    """One file; counts what its tensors need."""

    def __init__(self, size: int, map_location: MapLocation) -> None:
        self.map_location = map_location
        self.bytes_left = SHARING * size + SMALL
        self.storage_left = size
        self.storages: dict[str, _Storage] = {}
        self.names: dict[str, Any] = {
            f'torch._utils.{name}': Function(getattr(self, method))
            for name, method in _REBUILD.items()
        }
        self.names |= {
            'torch._tensor._rebuild_from_type_v2': Function(self._plain),
            'torch.Tensor': torch.Tensor,
            'torch.nn.parameter.Parameter': nn.Parameter,
            'torch.Size': Function(_size),
            'torch.device': Function(_device),
            'torch.storage.UntypedStorage': _Kind(torch.uint8),
        }
        for name, dtype in _DTYPES.items():
            self.names[f'torch.{name}Storage'] = _Kind(dtype)
        for name, value in vars(torch).items():
            if isinstance(value, torch.dtype):
                self.names[f'torch.{name}'] = value

    def count(self, size: int, shape: Any) -> None:
        """Refuse tensors that are much larger than the file."""
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise pickle.UnpicklingError(
                f'a tensor of shape {tuple(shape)}, which repeats the same '
                'few numbers: its tensors are much larger than the file'
            )

    def _tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any,
        requires_grad: Any = False, hooks: Any = None, metadata: Any = None,
    ) -> _Tensor:  # fmt: skip
        return self._typed(
            storage, offset, size, stride, requires_grad, hooks, None, metadata
        )

    def _typed(
        self, storage: Any, offset: Any, size: Any, stride: Any,
        requires_grad: Any, hooks: Any, dtype: Any, metadata: Any = None,
    ) -> _Tensor:  # fmt: skip
        if hooks or metadata:
            raise pickle.UnpicklingError('a tensor with hooks or metadata')
        if dtype is not None and not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError('a tensor without a type')
        return _Tensor(
            self, storage, offset, size, stride, requires_grad, dtype
        )

    def _parameter(
        self, data: Any, requires_grad: Any, hooks: Any = None
    ) -> _Tensor:
        if not isinstance(data, _Tensor) or hooks:
            raise pickle.UnpicklingError('a parameter without a tensor')
        data.parameter, data.requires_grad = True, bool(requires_grad)
        return data

    def _plain(self, build: Any, kind: Any, args: Any, state: Any) -> _Tensor:
        """Build a tensor that had attributes of its own, without these."""
        del state
        known = [self.names[f'torch._utils.{name}'] for name in _REBUILD]
        if kind not in (torch.Tensor, nn.Parameter) or build not in known:
            raise pickle.UnpicklingError('a tensor of a class of its own')
        found: _Tensor = build.call(*args)
        return found

    def storage(self, given: Any) -> _Storage:
        """Return the storage of a persistent id; it gets its bytes later."""
        word, kind, key, location, count, *view = given
        if word != 'storage' or not isinstance(kind, _Kind) or any(view):
            raise pickle.UnpicklingError('a stored object that is no tensor')
        if not isinstance(key, str) or not isinstance(location, str):
            raise pickle.UnpicklingError('a storage without a name')
        if key not in self.storages:
            if not are_sizes((count,)):
                raise pickle.UnpicklingError('a storage without a size')
            found = _Storage(kind, count, location)
            self.storage_left -= found.size
            if self.storage_left < 0:
                raise pickle.UnpicklingError(
                    f'a storage of {found.size} bytes, more than the file has'
                )
            self.storages[key] = found
        return self.storages[key]

    def unpickle(self, file: BinaryIO) -> Any:
        """Read the pickle that ``file`` is at."""
        return SafeUnpickler(file, self.names, self.storage).load()


def read_torch(
    file: BinaryIO, size: int, map_location: MapLocation = 'cpu'
) -> Any:
    """Read a file that ``torch.save`` has written.

    Args:
        file: The file, opened for reading, at its beginning.
        size: Its length in bytes.
        map_location: See :func:`torch.load`; None: the CPU.

    Returns:
        Tensors, parameters, numpy arrays, numbers, strings, and containers of
        them.

    Raises:
        ForbiddenName: The file names a function or class that loading would
            call.
        Exception: Any other exception, if the file is damaged, or claims to
            hold more than it does.
    """
    torch_file = _TorchFile(size, map_location)
    if file.read(2) == b'PK':
        loaded = _read_zip(file, size, torch_file)
    else:
        file.seek(0)
        loaded = _read_legacy(io.BytesIO(file.read()), torch_file)
    return finish(loaded)


def _read_zip(file: BinaryIO, size: int, torch_file: _TorchFile) -> Any:
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        names = {info.filename.partition('/')[2]: info for info in infos}
        if 'constants.pkl' in names:
            raise ForbiddenName('a program (TorchScript)')
        if len(names) != len(infos) or 'data.pkl' not in names:
            raise pickle.UnpicklingError('an archive, but not of torch.save')
        if any(
            info.compress_type != zipfile.ZIP_STORED
            # zipfile would take memory for the one, whatever the other says.
            or info.compress_size != info.file_size
            for info in infos
        ):
            raise pickle.UnpicklingError('a compressed archive')
        if sum(info.file_size for info in infos) > size:
            raise pickle.UnpicklingError('an archive whose parts overlap')
        order = names.get('byteorder')
        if order is not None and archive.read(order) != b'little':
            raise pickle.UnpicklingError('numbers in big-endian order')
        content = io.BytesIO(archive.read(names['data.pkl']))
        loaded = torch_file.unpickle(content)
        for key, storage in torch_file.storages.items():
            info = names[f'data/{key}']
            if info.file_size != storage.size:
                raise pickle.UnpicklingError(
                    f'{info.file_size} bytes where {storage.size} belong'
                )
            storage.content = bytearray(archive.read(info))
    return loaded


def _read_legacy(file: io.BytesIO, torch_file: _TorchFile) -> Any:
    """Read the format of torch before 1.6."""
    if tarfile.is_tarfile(file):
        raise pickle.UnpicklingError('a tar archive (torch before 0.4)')
    file.seek(0)
    header = [SafeUnpickler(file).load() for _ in range(3)]
    if tuple(header[:2]) != _LEGACY or not header[2]['little_endian']:
        raise pickle.UnpicklingError('not a file of torch.save')
    loaded = torch_file.unpickle(file)
    for key in SafeUnpickler(file).load():
        storage = torch_file.storages[key]
        (count,) = struct.unpack('<q', file.read(8))
        storage.content = bytearray(file.read(storage.size))
        if (
            count * storage.dtype.itemsize != storage.size
            or len(storage.content) != storage.size
        ):
            raise pickle.UnpicklingError(f'{count} numbers, or cut off')
    return loaded
