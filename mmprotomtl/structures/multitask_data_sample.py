"""The sample: one image's labels, predictions and meta information."""

from collections.abc import Mapping, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor


class MultiTaskDataSample(BaseDataElement):
    """Maps of one image, by task.

    Attributes:
        gt_maps (PixelData): A label ``L x H x W`` for each task that is
            labelled; a task without a label is not in it.
        rays (Tensor): Unit vectors from the camera through the pixels, ``3 x H
            x W``, only where a task learns by them; 0 for padding.
        pred_maps (PixelData): A prediction ``P x H x W`` for each task.
        finite_logits (dict): Task -> whether all logits of the image were
            finite, a bool tensor of no dimension.

    Meta information: ``sample_id``, ``img_path``, ``ori_shape`` (height and
    width of image and labels as loaded), ``img_shape`` (as the network gets
    them, without padding), ``pad_shape``, ``padding_size`` (left, right, top,
    bottom), ``content_box`` (see :func:`content_box`), ``scale_factor``,
    ``flip``, ``flip_direction``.
    """

    def label(self, task: str) -> Tensor | None:
        """The label of a task, or None where the image has none."""
        maps = self.get('gt_maps')
        return None if maps is None else maps.get(task)


def content_box(
    meta: Mapping[str, Any], size: Sequence[int]
) -> tuple[int, int, int, int]:
    """Return the position of an image in its padded version.

    Args:
        meta: The sample's meta information.
        size: Height and width of the batch, used if ``meta`` has neither
            ``content_box`` nor ``img_shape``.

    Returns:
        Top, left, height and width in pixels.
    """
    return meta.get('content_box') or (0, 0, *meta.get('img_shape', size))


def _to_arrays(sample: MultiTaskDataSample) -> tuple[Any, ...]:
    """What crosses from a loader worker: numpy in place of tensors."""
    maps: Mapping[str, Tensor] = dict(sample.gt_maps.items())
    arrays = {name: label.numpy() for name, label in maps.items()}
    rays = sample.get('rays')
    rays = None if rays is None else rays.numpy()
    return _from_arrays, (type(sample), sample.metainfo, arrays, rays)


def _from_arrays(
    kind: type[MultiTaskDataSample],
    metainfo: dict[str, Any],
    arrays: dict[str, np.ndarray],
    rays: np.ndarray | None,
) -> MultiTaskDataSample:
    sample = kind(metainfo=metainfo)
    sample.gt_maps = PixelData(
        **{name: torch.from_numpy(array) for name, array in arrays.items()}
    )
    if rays is not None:
        sample.set_field(torch.from_numpy(rays), 'rays', dtype=torch.Tensor)
    return sample


# Each tensor that a loader worker sends costs file descriptors, and a sample
# has one for every task: several workers would run out of them.
ForkingPickler.register(MultiTaskDataSample, _to_arrays)
