"""Normalise and batch images; pad labels with their task's invalid value."""

from collections.abc import Mapping

import torch
from mmengine.model import ImgDataPreprocessor
from mmengine.structures import PixelData
from torch import Tensor
from torch.nn import functional as F

from mmprotomtl.registry import MODELS
from mmprotomtl.structures import MultiTaskDataSample, content_box
from mmprotomtl.tasks import Task, build_tasks


@MODELS.register_module()
class MultiTaskDataPreprocessor(ImgDataPreprocessor):
    """Combine the samples of a batch into one tensor.

    Images are normalised and padded at the right and the bottom to a common
    size, a multiple of ``pad_size_divisor``. In training, labels are padded to
    the same size with their task's ``invalid`` value. The samples' meta
    information has the padding.

    Args:
        tasks: The config's ``tasks``; the segmentor fills it in.
        **kwargs: See :class:`mmengine.model.ImgDataPreprocessor` (``mean``,
            ``std``, ``bgr_to_rgb``, ``pad_size_divisor``, ``pad_value``).
    """

    def __init__(
        self, tasks: Mapping[str, dict | Task] | None = None, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        self.tasks = build_tasks(tasks) if tasks else {}

    def forward(self, data: dict, training: bool = False) -> dict:
        """Make a batch.

        Args:
            data: ``inputs``, uint8 tensors ``3 x H x W``, and
                ``data_samples`` (optional outside of training).
            training: Whether to pad the labels, too. Otherwise they keep
                their size.

        Returns:
            ``inputs``, float tensor ``N x 3 x H' x W'``, and
            ``data_samples``.
        """
        samples: list[MultiTaskDataSample] | None = data.get('data_samples')
        sizes = [image.shape[-2:] for image in data['inputs']]
        # mmengine moves to the device, converts BGR to RGB, normalises, pads
        # and stacks.
        batch = super().forward(data, training)
        inputs, samples = batch['inputs'], batch.get('data_samples')
        if samples is not None:
            height, width = inputs.shape[-2:]
            for sample, (h, w) in zip(samples, sizes, strict=True):
                padding = (0, width - w, 0, height - h)
                sample.set_metainfo(
                    dict(
                        img_shape=(h, w),
                        pad_shape=(height, width),
                        padding_size=padding,
                    )
                )
                if training and any(padding):
                    self._pad_labels(sample, padding)
        return dict(inputs=inputs, data_samples=samples)

    def _pad_labels(
        self, sample: MultiTaskDataSample, padding: tuple[int, ...]
    ) -> None:
        if 'rays' in sample:
            sample.rays = F.pad(sample.rays, padding)
        sample.gt_maps = PixelData(
            **{
                name: F.pad(label, padding, value=self.tasks[name].invalid)
                for name, label in sample.gt_maps.items()
            }
        )


def image_mask(
    inputs: Tensor, samples: list[MultiTaskDataSample] | None
) -> Tensor:
    """Return a mask of the pixels that are image and not padding.

    Args:
        inputs: ``N x 3 x H x W``.
        samples: Samples of the images, with the padding in their meta
            information; None: there is no padding.

    Returns:
        Bool ``N x 1 x H x W``.
    """
    height, width = inputs.shape[-2:]
    mask = inputs.new_ones((len(inputs), 1, height, width), dtype=torch.bool)
    for row, sample in zip(mask, samples or [], strict=False):
        top, left, h, w = content_box(sample.metainfo, (height, width))
        row[:, :top] = False
        row[:, top + h :] = False
        row[:, :, :left] = False
        row[:, :, left + w :] = False
    return mask
