"""Further transforms of the recipe of ATRC, InvPT and DiffusionMTL.

For its photometric distortion use mmseg's ``mmseg.PhotoMetricDistortion``.
"""

from collections.abc import Sequence

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets.transforms import RandomCrop, RandomRotate

from mmprotomtl.registry import TRANSFORMS
from mmprotomtl.tasks import Task, apply_value_map

from .processing import map_labels


@TRANSFORMS.register_module()
class MultiTaskRandomScale(BaseTransform):
    """Resize image and labels by a random factor.

    This is treated as a zoom of the camera: depth is divided by the factor.

    Args:
        ratio_range: Minimum and maximum of the uniform distribution of the
            factor.

    Raises:
        ValueError: The factors are not positive and ascending.
    """

    def __init__(self, ratio_range: Sequence[float] = (0.5, 2.0)) -> None:
        low, high = ratio_range
        if not 0 < low <= high:
            raise ValueError(
                f'MultiTaskRandomScale.ratio_range={ratio_range!r} is not '
                'allowed: give two factors above 0, the smaller one first'
            )
        self.ratio_range = (low, high)

    @cache_randomness
    def _decide(self) -> float:
        return np.random.uniform(*self.ratio_range)

    def transform(self, results: dict) -> dict:
        """Scale image and labels."""
        scale = self._decide()
        rows, cols = results['img'].shape[:2]
        size = max(round(rows * scale), 1), max(round(cols * scale), 1)

        def zoom(task: Task, label: np.ndarray) -> np.ndarray:
            scaled = task.resize_label(label, size)
            return apply_value_map(scaled, task.value_map(scale=scale))

        results['img'] = mmcv.imresize(results['img'], size[::-1])
        results['img_shape'] = size
        map_labels(results, zoom)
        return results

    def __repr__(self) -> str:
        return f'MultiTaskRandomScale(ratio_range={self.ratio_range})'


@TRANSFORMS.register_module()
class MultiTaskRandomCrop(RandomCrop):
    """mmseg's ``RandomCrop``, applied to the labels of all tasks, too.

    The original recipe draws a new window if one class fills more than three
    quarters of it. Here this uses only labels that the label mask does not
    hide; if no label with classes is visible, the first window is taken. All
    windows are drawn in advance, so later random decisions do not depend on
    the labels.

    Args:
        crop_size: Height and width in pixels; smaller images keep their size.
        cat_max_ratio: A window is accepted if its most frequent class
            (:meth:`mmprotomtl.tasks.Task.largest_share`) covers less than this
            fraction. 1: every window is accepted.

    Raises:
        ValueError: ``cat_max_ratio`` is not above 0 and at most 1.
    """

    #: Maximum number of windows, as in mmseg; the last one is always accepted.
    TRIES = 11

    def __init__(
        self, crop_size: int | Sequence[int], cat_max_ratio: float = 1.0
    ) -> None:
        if not isinstance(crop_size, int):
            crop_size = tuple(crop_size)
        if not 0 < cat_max_ratio <= 1:
            raise ValueError(
                f'MultiTaskRandomCrop.cat_max_ratio={cat_max_ratio!r} is not '
                'allowed: choose a share above 0, at most 1 (no retry)'
            )
        # mmseg's own retry supports one label only, so it is switched off.
        super().__init__(crop_size)
        self.max_share = cat_max_ratio

    def _choose(self, results: dict) -> tuple[int, int, int, int]:
        if self.max_share == 1:
            return self.crop_bbox(results)
        windows = [self.crop_bbox(results) for _ in range(self.TRIES)]
        good = (w for w in windows[:-1] if self._is_good(results, w))
        return next(good, windows[-1])

    def _is_good(self, results: dict, window: tuple) -> bool:
        shares = (
            results['tasks'][name].largest_share(self.crop(label, window))
            for name, label in results.get('gt_maps', {}).items()
        )
        return all(s is None or s < self.max_share for s in shares)

    def transform(self, results: dict) -> dict:
        """Crop image and labels."""
        window = self._choose(results)
        results['img'] = self.crop(results['img'], window)
        results['img_shape'] = results['img'].shape[:2]
        map_labels(results, lambda task, label: self.crop(label, window))
        return results

    def __repr__(self) -> str:
        return (
            f'MultiTaskRandomCrop(crop_size={self.crop_size}, '
            f'cat_max_ratio={self.max_share})'
        )


@TRANSFORMS.register_module()
class MultiTaskRandomRotate(RandomRotate):
    """mmseg's ``RandomRotate``, applied to the labels of all tasks, too.

    This is a rotation of the camera about its optical axis: normal vectors
    rotate with the image, depth does not change. New pixels in the corners are
    unlabelled.

    Args:
        prob: Probability of a rotation.
        degree: Maximum angle in either direction, or minimum and maximum, in
            degrees.
        **kwargs: See mmseg's ``RandomRotate``.
    """

    def transform(self, results: dict) -> dict:
        """Rotate image and labels."""
        rotate, degree = self.generate_degree()
        if not rotate:
            return results
        results['img'] = self._rotate(results['img'], degree, self.pal_val)
        results['img_shape'] = results['img'].shape[:2]

        def turn(task: Task, label: np.ndarray) -> np.ndarray:
            border = (task.invalid,) * task.label_channels
            turned = self._rotate(label, degree, border, 'nearest')
            # mmcv's angles are clockwise, value_map's counter-clockwise.
            return apply_value_map(turned, task.value_map(angle=-degree))

        map_labels(results, turn)
        return results

    def _rotate(
        self,
        picture: np.ndarray,
        degree: float,
        border: float | tuple[float, ...],
        interpolation: str = 'bilinear',
    ) -> np.ndarray:
        return mmcv.imrotate(
            picture,
            degree,
            center=self.center,
            border_value=border,
            interpolation=interpolation,
            auto_bound=self.auto_bound,
        )


@TRANSFORMS.register_module()
class MultiTaskPad(BaseTransform):
    """Pad image and labels on all sides; the image stays in the centre.

    Use it as the last step before packing. The position of the image is stored
    in the sample's meta information as ``content_box`` (top, left, height,
    width). The model crops its predictions to it, and the padding contributes
    to no loss.

    Args:
        size: Minimum height and width of the result in pixels.
        size_divisor: Alternative to ``size``: height and width are padded to
            multiples of it.
        pad_val: Value of the new image pixels, BGR. Labels are padded with the
            task's value of unlabelled pixels.

    Raises:
        ValueError: Both or neither of ``size`` and ``size_divisor`` are given.
    """

    def __init__(
        self,
        size: Sequence[int] | None = None,
        size_divisor: int | None = None,
        pad_val: Sequence[float] = (0, 0, 0),
    ) -> None:
        if (size is None) == (size_divisor is None):
            raise ValueError(
                f'MultiTaskPad: size={size!r} and size_divisor='
                f'{size_divisor!r} are given; give one of the two'
            )
        self.size = size
        self.size_divisor = size_divisor
        self.pad_val = tuple(pad_val)

    def transform(self, results: dict) -> dict:
        """Pad image and labels."""
        rows, cols = results['img'].shape[:2]
        if self.size is not None:
            height, width = self.size
        else:
            height, width = (
                -(-n // self.size_divisor) * self.size_divisor
                for n in (rows, cols)
            )
        more = max(height - rows, 0), max(width - cols, 0)
        top, left = more[0] // 2, more[1] // 2
        padding = (left, top, more[1] - left, more[0] - top)

        def pad(task: Task, label: np.ndarray) -> np.ndarray:
            return mmcv.impad(label, padding=padding, pad_val=task.invalid)

        results['img'] = mmcv.impad(
            results['img'], padding=padding, pad_val=self.pad_val
        )
        results['img_shape'] = results['img'].shape[:2]
        results['content_box'] = (top, left, rows, cols)
        map_labels(results, pad)
        return results

    def __repr__(self) -> str:
        return (
            f'MultiTaskPad(size={self.size}, size_divisor='
            f'{self.size_divisor}, pad_val={self.pad_val})'
        )
