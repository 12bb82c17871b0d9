"""Features of a frozen backbone, computed once and kept on disk."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmprotomtl.utils.errors import check_choice
from mmprotomtl.utils.files import write_bytes, write_json

#: Types of the stored numbers.
DTYPES = ('float16', 'float32')
_DIGEST = 16


class FeatureCache:
    """Keeps the feature maps that a frozen backbone gives for an image.

    An entry is found by the content of the image that the network gets, so
    that another augmentation, size or normalisation is another entry, and no
    name has to be told. The entries of a backbone lie in a folder of its own,
    which is named after its settings, its weights and the type of the stored
    numbers: other weights never meet them. Only images are read, no label.

    An entry is a file that is written atomically and begins with a checksum.
    Several runs may share the folder; an entry that is damaged is computed
    again.

    Args:
        settings: The backbone's config; ``init_cfg`` does not count, since
            the weights do.
        folder: Where the features are kept.
        dtype: Type of the stored numbers. ``'float32'`` keeps all bits and
            needs twice the space.

    Raises:
        ValueError: ``dtype`` is not allowed.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        folder: str,
        dtype: str = 'float16',
    ) -> None:
        check_choice('FeatureCache.dtype', dtype, DTYPES)
        self.folder = Path(folder)
        self.dtype = np.dtype(dtype)
        self.settings = json.loads(
            json.dumps(
                {k: v for k, v in settings.items() if k != 'init_cfg'},
                default=str,
                sort_keys=True,
            )
        )
        self._versions: list[tuple[int, int]] = []
        self._home = self.folder

    @torch.no_grad()
    def __call__(
        self, backbone: nn.Module, images: Tensor
    ) -> tuple[Tensor, ...]:
        """Read the feature maps, or compute and keep them.

        Args:
            backbone: The backbone, frozen and in the mode of a test.
            images: What it gets, ``N x 3 x H x W``.

        Returns:
            The feature maps, ``N x C_i x h_i x w_i``, in the type of
            ``images``.

        Raises:
            ValueError: The backbone trains, or a feature is too large for the
                type of the stored numbers.
        """
        check_frozen(backbone)
        home = self._find_home(backbone, images)
        paths = [home / key[:2] / key for key in map(_key, images)]
        found = [_read(path, self.dtype) for path in paths]
        missing = [i for i, maps in enumerate(found) if maps is None]
        if missing:
            # The last bit of a convolution depends on the size of the batch.
            # With the whole batch, results are those without a cache.
            maps = as_maps(backbone(images))
            for place in missing:
                found[place] = self._write(paths[place], maps, place)
        return tuple(
            torch.from_numpy(np.stack(scale)).to(images)
            for scale in zip(*found, strict=True)
        )

    def _find_home(self, backbone: nn.Module, images: Tensor) -> Path:
        """Find the folder for the weights as they are now."""
        weights = backbone.state_dict()
        # All that changes weights in place raises the version; what replaces
        # them gives another address.
        versions = [(w.data_ptr(), w._version) for w in weights.values()]
        if versions != self._versions:
            state = hashlib.sha256(
                json.dumps([self.settings, str(self.dtype)]).encode()
            )
            state.update(str(backbone).encode())
            for name, weight in weights.items():
                state.update(f'{name} {weight.dtype} {weight.shape}'.encode())
                state.update(_bytes(weight))
            self._home = self.folder / state.hexdigest()[:32]
            self._versions = versions
            about = self._home / 'about.json'
            if not about.exists():
                settings = dict(backbone=self.settings, dtype=str(self.dtype))
                write_json(about, settings)
        device = images.device.type
        if torch.is_autocast_enabled(device):
            return self._home / str(torch.get_autocast_dtype(device))
        return self._home

    def _write(
        self, path: Path, maps: tuple[Tensor, ...], row: int
    ) -> list[np.ndarray]:
        """Keep the features of one image of a batch; returns what a later
        step will read.
        """
        whole = [m[row].float().cpu().numpy() for m in maps]
        with np.errstate(over='ignore'):
            kept = [np.ascontiguousarray(m, self.dtype) for m in whole]
        for before, after in zip(whole, kept, strict=True):
            if not np.isfinite(after).all() and np.isfinite(before).all():
                raise ValueError(
                    f'FeatureCache.dtype={str(self.dtype)!r}: a '
                    f'feature of {np.abs(before).max():.4g} is too large for '
                    "it; choose 'float32'"
                )
        shapes = json.dumps([m.shape for m in kept]).encode()
        content = b'\n'.join([shapes, b''.join(m.tobytes() for m in kept)])
        write_bytes(path, _checksum(content) + content)
        return kept


def check_frozen(backbone: nn.Module) -> None:
    """Check that a backbone gives an image the same features at every step.

    Raises:
        ValueError: It trains, or it is in the mode of training.
    """
    trains = [n for n, p in backbone.named_parameters() if p.requires_grad]
    if trains:
        raise ValueError(
            f'no features can be kept: {len(trains)} weights of the backbone '
            f'train, such as {trains[0]}, so that its features change at '
            'every step. Set model.freeze_backbone=True'
        )
    modes = [n for n, m in backbone.named_modules() if m.training]
    if modes:
        raise ValueError(
            'no features can be kept: the backbone is in training mode '
            f'({modes[0] or type(backbone).__name__}), where batch norm and '
            'dropout make the features depend on the batch and on chance. '
            'Set model.freeze_backbone=True'
        )


def as_maps(features: Tensor | tuple | list) -> tuple[Tensor, ...]:
    """Return feature maps as a tuple, also if there is a single one."""
    return (features,) if isinstance(features, Tensor) else tuple(features)


def _read(path: Path, dtype: np.dtype) -> list[np.ndarray] | None:
    """Read an entry; None: there is none, or it is damaged."""
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        return None
    checksum, content = stored[:_DIGEST], stored[_DIGEST:]
    if checksum != _checksum(content):
        print_log(
            f'{path}: damaged; its features are computed again',
            logger='current',
            level=logging.WARNING,
        )
        return None
    start = content.index(b'\n') + 1
    numbers, maps = np.frombuffer(content, dtype, offset=start), []
    for shape in json.loads(content[:start]):
        size = int(np.prod(shape))
        maps.append(numbers[:size].reshape(shape))
        numbers = numbers[size:]
    return maps


def _key(image: Tensor) -> str:
    """Name of an image's entry."""
    about = f'{image.dtype} {tuple(image.shape)}'.encode()
    return hashlib.blake2b(about + _bytes(image), digest_size=16).hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    """The content of a tensor, of any type."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()
