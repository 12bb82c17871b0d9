"""Read the values of a mask file, a pickle from an untrusted source.

:mod:`mmprotomtl.loading.unpickling` reads pickles without running anything in
them. Here its result is copied to plain values, with a bound on their number:
a list that holds one other list many times, which does the same, and so on,
has few bytes and billions of items.
"""

import io
import pickle
from typing import Any

import numpy as np
import torch

from mmprotomtl.loading.torch_files import read_torch
from mmprotomtl.loading.unpickling import SafeUnpickler, finish

#: Deepest nesting of a mask: of its dict, lists in it, and numbers in those.
MAX_DEPTH = 8
#: A mask may have this many items for each byte of its file, and this many in
#: any case. One row that many images share is stored once.
SHARING, FEW = 10, 10_000


class _Plain:
    """Copies values to plain ones, and counts them."""

    def __init__(self, size: int) -> None:
        self.left = SHARING * size + FEW

    def copy(self, value: Any, depth: int = 0) -> Any:
        """Return a copy with arrays replaced by lists; tensors are kept."""
        self.left -= 1
        if depth > MAX_DEPTH or self.left < 0:
            raise pickle.UnpicklingError(
                f'more than {MAX_DEPTH} levels, or many more items than bytes'
            )
        if isinstance(value, np.ndarray):
            if value.ndim > 1:
                raise pickle.UnpicklingError(
                    f'an array of shape {value.shape}'
                )
            self.left -= value.size
            return self.copy(value.tolist(), depth)
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, dict):
            return {
                key: self.copy(item, depth + 1) for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.copy(item, depth + 1) for item in value]
        if value is None or isinstance(
            value, (bool, int, float, str, torch.Tensor)
        ):
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
    return _Plain(len(content)).copy(finish(SafeUnpickler(file).load()))


def load_torch(content: bytes) -> Any:
    """Load a torch file with tensors or numpy numbers.

    Args:
        content: Content of the file.

    Raises:
        Exception: Any exception, as for :func:`load_numpy`.
    """
    loaded = read_torch(io.BytesIO(content), len(content))
    return _Plain(len(content)).copy(loaded)
