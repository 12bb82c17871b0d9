"""Geometric transforms that change an image and all its labels together.

Pixels of the image and of all labels move in the same way; each task defines
how label values change with it (:meth:`mmprotomtl.tasks.Task.value_map`). No
random decision depends on labels, except for
``MultiTaskRandomCrop.cat_max_ratio``, which uses labels that are not hidden.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, RandomFlip, Resize
from mmcv.transforms.utils import cache_randomness

from mmprotomtl.registry import TRANSFORMS
from mmprotomtl.tasks import NormalsTask, Task, apply_value_map


class _Rays(NormalsTask):
    """Unit vectors that change smoothly from pixel to pixel."""

    interpolation: ClassVar[int] = cv2.INTER_LINEAR


#: What is done to the camera's rays.
RAYS = _Rays(name='rays')


def map_labels(
    results: dict, change: Callable[[Task, np.ndarray], np.ndarray]
) -> None:
    """Replace each label of ``results`` by ``change(task, label)``, and the
    camera's rays, where there are some: they move with the pixels as normals.

    Args:
        results: The sample, changed in place.
        change: Function of the task and its canonical label.
    """
    tasks = results['tasks']
    if 'rays' in results:
        results['rays'] = change(RAYS, results['rays'])
    results['gt_maps'] = {
        name: change(tasks[name], label)
        for name, label in results.get('gt_maps', {}).items()
    }


@TRANSFORMS.register_module()
class MultiTaskResize(Resize):
    """mmcv's ``Resize``, applied to the labels of all tasks, too.

    It changes the resolution but not the field of view, so depth values do
    not change.

    Args:
        scale: Width and height of the result in pixels.
        scale_factor: Alternative to ``scale``: a factor, or one for width and
            one for height.
        keep_ratio: Whether to keep the aspect ratio; the result is the
            largest image that fits into ``scale``, in either orientation.
            False: the image is stretched to ``scale``, which distorts shapes
            and normals.
        **kwargs: See mmcv's ``Resize``.
    """

    def __init__(
        self,
        scale: int | tuple[int, int] | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        keep_ratio: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(scale, scale_factor, keep_ratio, **kwargs)

    def _resize_seg(self, results: dict) -> None:
        size = results['img_shape']
        map_labels(results, lambda task, label: task.resize_label(label, size))


@TRANSFORMS.register_module()
class MultiTaskRandomFlip(RandomFlip):
    """mmcv's ``RandomFlip``, applied to the labels of all tasks, too."""

    def _flip(self, results: dict) -> None:
        super()._flip(results)
        direction = results['flip_direction']

        def flip(task: Task, label: np.ndarray) -> np.ndarray:
            flipped = mmcv.imflip(label, direction)
            return apply_value_map(flipped, task.value_map(flip=direction))

        map_labels(results, flip)


@TRANSFORMS.register_module()
class MultiTaskRandomScaleCrop(BaseTransform):
    """Zoom in by a random factor s, as in MTAN.

    A window of 1 / s of the height and width is cropped at a random position
    and enlarged to the original size. Depth is divided by s, because an object
    that appears s times larger is s times nearer.

    Args:
        scales: The factors, each >= 1; one is drawn uniformly.

    Raises:
        ValueError: There is no factor, or one is below 1.
    """

    def __init__(self, scales: Sequence[float] = (1.0, 1.2, 1.5)) -> None:
        if not scales or min(scales) < 1:
            raise ValueError(
                f'MultiTaskRandomScaleCrop.scales={scales!r} is not allowed: '
                'give at least one factor, each 1 or more'
            )
        self.scales = tuple(scales)

    @cache_randomness
    def _decide(self) -> tuple[float, float, float]:
        scale = self.scales[np.random.randint(len(self.scales))]
        top, left = np.random.random_sample(2)
        return scale, top, left

    def transform(self, results: dict) -> dict:
        """Zoom image and labels."""
        scale, top, left = self._decide()
        height, width = size = results['img'].shape[:2]
        rows, cols = round(height / scale), round(width / scale)
        top = int(top * (height - rows + 1))
        left = int(left * (width - cols + 1))
        window = (slice(top, top + rows), slice(left, left + cols))

        def zoom(task: Task, label: np.ndarray) -> np.ndarray:
            enlarged = task.resize_label(label[window], size)
            return apply_value_map(enlarged, task.value_map(scale=scale))

        results['img'] = mmcv.imresize(results['img'][window], (width, height))
        map_labels(results, zoom)
        return results

    def __repr__(self) -> str:
        return f'MultiTaskRandomScaleCrop(scales={self.scales})'
