"""Pack the arrays of a sample into the input format of the model."""

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData

from mmprotomtl.registry import TRANSFORMS
from mmprotomtl.structures import MultiTaskDataSample


@TRANSFORMS.register_module()
class PackMultiTaskInputs(BaseTransform):
    """Pack image and labels into tensors.

    Required keys: ``img``; optional: ``gt_maps``, ``rays``. Result: ``inputs``
    (uint8 tensor ``3 x H x W``) and ``data_samples``
    (:class:`MultiTaskDataSample` with labels ``C x H x W``).

    Labels must have the size of the image. The exception are test pipelines
    that load the labels after the image was resized or padded: there, labels
    have the size of the image on disk (``gt_shape``).

    Args:
        meta_keys: Keys of ``results`` to copy to the sample's ``metainfo``.
    """

    META_KEYS = (
        'sample_id',
        'img_path',
        'ori_shape',
        'img_shape',
        'scale_factor',
        'flip',
        'flip_direction',
        'content_box',
    )

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """Pack ``results``.

        Raises:
            ValueError: A label does not have the expected size.
        """
        expected = tuple(results.get('gt_shape', results['img'].shape[:2]))
        for name, label in results.get('gt_maps', {}).items():
            if label.shape[:2] != expected:
                raise ValueError(
                    f'the label of {name!r} of sample '
                    f'{results.get("sample_id")!r} is {_text(label.shape)} '
                    f'pixels (height x width), expected {_text(expected)}; '
                    f'its image is {_text(results["img"].shape)}: a transform '
                    'before PackMultiTaskInputs changed only one of them'
                )
        meta = {key: results[key] for key in self.meta_keys if key in results}
        sample = MultiTaskDataSample(metainfo=meta)
        sample.gt_maps = PixelData(
            **{
                name: _to_tensor(label)
                for name, label in results.get('gt_maps', {}).items()
            }
        )
        rays = results.get('rays')
        # In a test pipeline the image is resized without its labels.
        if rays is not None and 'gt_shape' not in results:
            sample.set_field(_to_tensor(rays), 'rays', dtype=torch.Tensor)
        return dict(inputs=_to_tensor(results['img']), data_samples=sample)


def _text(shape: Sequence[int]) -> str:
    return f'{shape[0]} x {shape[1]}'


def _to_tensor(array: np.ndarray) -> torch.Tensor:
    """Convert an array ``H x W [x C]`` to a tensor ``C x H x W``."""
    if array.ndim == 2:
        array = array[..., None]
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
