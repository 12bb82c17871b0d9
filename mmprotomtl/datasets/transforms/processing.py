"""Change an image and the labels of its tasks together.

The pixels move the same way for all; what happens to their values is asked of
each task (:meth:`mmprotomtl.tasks.Task.value_map`). No random decision looks
at a label, but for ``MultiTaskRandomCrop.cat_max_ratio``, which looks at those
that are not hidden.
"""

from collections.abc import Callable, Sequence

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, RandomFlip, Resize
from mmcv.transforms.utils import cache_randomness

from mmprotomtl.registry import TRANSFORMS
from mmprotomtl.tasks import Task, apply_value_map


def map_labels(
    results: dict, change: Callable[[Task, np.ndarray], np.ndarray]
) -> None:
    """Replace each label by ``change(task, label)``."""
    tasks = results['tasks']
    results['gt_maps'] = {
        name: change(tasks[name], label)
        for name, label in results.get('gt_maps', {}).items()
    }


@TRANSFORMS.register_module()
class MultiTaskResize(Resize):
    """mmcv's ``Resize``, with the labels of all tasks.

    It changes the resolution, not the view: depth stays what it is.

    Args:
        scale: Width and height of the result.
        scale_factor: Factor, or factors of width and height, instead.
        keep_ratio: Whether the image keeps its shape and becomes the largest
            that fits into ``scale``, in either orientation. False: it is
            stretched, and with it all shapes and normals that are seen.
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
    """mmcv's ``RandomFlip``, with the labels of all tasks."""

    def _flip(self, results: dict) -> None:
        super()._flip(results)
        direction = results['flip_direction']

        def flip(task: Task, label: np.ndarray) -> np.ndarray:
            flipped = mmcv.imflip(label, direction)
            return apply_value_map(flipped, task.value_map(flip=direction))

        map_labels(results, flip)


@TRANSFORMS.register_module()
class MultiTaskRandomScaleCrop(BaseTransform):
    """Zoom in by one of a few factors (MTAN): crop 1 / s of the height and
    width at a random place and enlarge it to the size it came from.

    Depth is divided by s: what is seen s times larger is s times nearer.

    Args:
        scales: The factors, >= 1, all as likely.
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
