"""Inference modes: whole image, sliding window, test-time augmentation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmprotomtl.models.necks import TaskFeatures
from mmprotomtl.tasks import Task
from mmprotomtl.utils.errors import check_choice

#: Function from images ``N x 3 x H x W`` to task -> logits ``N x C x H x W``.
Network = Callable[[Tensor], dict[str, Tensor]]
#: Allowed keys of ``model.test_cfg``.
KEYS = ('mode', 'crop_size', 'stride', 'size', 'tta', 'memory')
#: Allowed values of ``model.test_cfg.memory``.
MEMORIES = ('own', 'zeros', 'other')
#: Setting of ``tools/test.py --tta``: the scales of mmseg.
TTA = dict(scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True)


def check_test_cfg(test_cfg: Mapping | None) -> dict:
    """Return all settings of inference, with defaults filled in.

    Args:
        test_cfg: The given settings, see :class:`MultiTaskSegmentor`.

    Raises:
        ValueError: A setting is unknown, missing or not allowed.
    """
    cfg: dict[str, Any] = dict(
        mode='whole', size='original', tta=None, memory='own'
    )
    cfg.update(test_cfg or {})
    for key in cfg:
        check_choice('a key of model.test_cfg', key, KEYS)
    check_choice('model.test_cfg.mode', cfg['mode'], ('whole', 'slide'))
    check_choice('model.test_cfg.size', cfg['size'], ('original', 'network'))
    check_choice('model.test_cfg.memory', cfg['memory'], MEMORIES)
    if cfg['memory'] == 'other' and cfg['tta'] is not None:
        raise ValueError(
            'model.test_cfg.memory="other" is not allowed with '
            'model.test_cfg.tta, which runs one image at a time: leave one '
            'of them out'
        )
    if cfg['mode'] == 'slide':
        for key in ('crop_size', 'stride'):
            pair = cfg.get(key)
            if not _is_pair(pair):
                raise ValueError(
                    f'model.test_cfg.{key}={pair!r} is not allowed: mode='
                    '"slide" needs a height and a width in pixels, both above '
                    '0'
                )
        for step, side in zip(cfg['stride'], cfg['crop_size'], strict=True):
            if step > side:
                raise ValueError(
                    f'model.test_cfg.stride={cfg["stride"]} is not allowed: '
                    'it leaves gaps if it is greater than crop_size='
                    f'{cfg["crop_size"]}'
                )
    if cfg['tta'] is not None:
        tta = dict(dict(scales=(1.0,), flip=False), **cfg['tta'])
        for key in tta:
            check_choice(
                'a key of model.test_cfg.tta', key, ('scales', 'flip')
            )
        if not tta['scales'] or min(tta['scales']) <= 0:
            raise ValueError(
                f'model.test_cfg.tta.scales={tta["scales"]!r} is not allowed: '
                'give one or more, above 0'
            )
        cfg['tta'] = tta
    return cfg


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and len(value) == 2
        and all(isinstance(v, int) and v > 0 for v in value)
    )


def replace_memory(features: TaskFeatures, kind: str) -> TaskFeatures:
    """Replace what the head retrieves, to measure how much it uses it.

    Args:
        features: Output of a neck with a memory.
        kind: ``own``: no change; ``zeros``; ``other``: the memory of the next
            image of the batch; the last image has that of the first.

    Raises:
        ValueError: ``other``, and the batch has a single image.
    """
    retrieval = features.retrieval
    if kind == 'own' or retrieval is None:
        return features
    images, read = len(features.features[0]), retrieval.memory
    if kind == 'other' and images < 2:
        raise ValueError(
            'model.test_cfg.memory="other" is not allowed for a batch of one '
            'image: set test_dataloader.batch_size (in training '
            'val_dataloader.batch_size) to 2 or more, such that no single '
            'image remains for the last batch'
        )

    def memory(pairs: list[list[int]]) -> Tensor:
        if kind == 'zeros':
            return torch.zeros_like(read(pairs))
        return read([[(row + 1) % images for row in rows] for rows in pairs])

    return features._replace(retrieval=retrieval._replace(memory=memory))


def slide(
    network: Network,
    inputs: Tensor,
    crop_size: Sequence[int],
    stride: Sequence[int],
) -> dict[str, Tensor]:
    """Average logits over overlapping windows that cover the images.

    The last window of a row or a column is aligned with the image's border.

    Args:
        network: Network to run on each window.
        inputs: ``N x 3 x H x W``.
        crop_size: Height and width of a window in pixels. An image that is
            smaller is processed as one window.
        stride: Vertical and horizontal step in pixels.

    Returns:
        Task -> logits ``N x C x H x W``.
    """
    height, width = inputs.shape[-2:]
    total: dict[str, Tensor] = {}
    count = inputs.new_zeros((1, 1, height, width), dtype=torch.float32)
    for top, bottom in _spans(height, crop_size[0], stride[0]):
        for left, right in _spans(width, crop_size[1], stride[1]):
            window = (..., slice(top, bottom), slice(left, right))
            count[window] += 1
            for name, logit in network(inputs[window]).items():
                if name not in total:
                    shape = (*logit.shape[:2], height, width)
                    total[name] = logit.new_zeros(shape)
                total[name][window] += logit
    return {name: logit / count for name, logit in total.items()}


def _spans(length: int, side: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of the windows along one axis."""
    side = min(side, length)
    steps = -(-(length - side) // step) + 1
    for number in range(steps):
        end = min(number * step + side, length)
        yield end - side, end


def augmented(
    network: Network,
    image: Tensor,
    tasks: Mapping[str, Task],
    scales: Sequence[float],
    flip: bool,
    divisor: int,
) -> dict[str, Tensor]:
    """Average logits over resized and mirrored versions of one image.

    Each task reverts the effect of resizing and mirroring on its values
    (:meth:`~mmprotomtl.tasks.Task.undo_view`).

    Args:
        network: Network to run on each version.
        image: ``1 x 3 x H x W``, without padding.
        tasks: Tasks of the network.
        scales: Factors by which the image is resized.
        flip: Whether to use each scale also mirrored horizontally.
        divisor: Images are padded to a multiple of this number of pixels.

    Returns:
        Task -> logits ``1 x C x H x W``.
    """
    height, width = image.shape[-2:]
    views: dict[str, list[Tensor]] = {name: [] for name in tasks}
    for scale in scales:
        size = (max(round(height * scale), 1), max(round(width * scale), 1))
        zoomed = image
        if size != (height, width):
            zoomed = F.interpolate(image, size, mode='bilinear')
        for mirror in (None, 'horizontal') if flip else (None,):
            view = zoomed if mirror is None else zoomed.flip(-1)
            padding = (0, -size[1] % divisor, 0, -size[0] % divisor)
            for name, logit in network(F.pad(view, padding)).items():
                logit = logit[..., : size[0], : size[1]]
                if mirror is not None:
                    logit = logit.flip(-1)
                logit = tasks[name].undo_view(logit, mirror, scale)
                if size != (height, width):
                    logit = F.interpolate(
                        logit, (height, width), mode='bilinear'
                    )
                views[name].append(logit)
    return {name: torch.stack(v).mean(0) for name, v in views.items()}
