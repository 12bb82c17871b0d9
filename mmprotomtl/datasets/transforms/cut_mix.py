"""A box of another image, with its labels."""

from collections.abc import Callable, Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmprotomtl.registry import TRANSFORMS
from mmprotomtl.tasks import Task


@TRANSFORMS.register_module()
class MultiTaskCutMix(BaseTransform):
    """Put a box of another training image into the image, with all its labels
    (CutMix, arXiv 1905.04899, for dense tasks).

    The box keeps its place. Where only one of the two images has a label of a
    task, the pixels of the other one are unlabelled for it. So what is mixed
    may have labels of more tasks than either image, and no label is made up.
    The loss of a task is the mean over labelled pixels, so a small box weighs
    as much as an image; :attr:`area` bounds it.

    The other image is any one of the same data set, drawn with the seed of
    the sample. It has gone through the steps before this one with random
    decisions of its own. Images must have the same size by then and no
    padding: put this step behind a resize or a crop and before
    ``MultiTaskPad``. Required keys: ``img``, ``tasks``, ``gt_maps`` and
    ``partner``, a function that gives the other sample, which a data set of
    this package adds for a step of its own pipeline.

    Args:
        prob: Probability that a box is put in.
        area: Least and greatest share of the image that the box covers; it is
            drawn uniformly. The box has the image's proportions.

    Raises:
        ValueError: A setting is no share, or the least area is above the
            greatest.
    """

    def __init__(
        self, prob: float = 0.5, area: Sequence[float] = (0.2, 0.5)
    ) -> None:
        low, high = area
        if not (0 <= prob <= 1 and 0 < low <= high < 1):
            raise ValueError(
                f'MultiTaskCutMix(prob={prob!r}, area={area!r}) is not '
                'allowed: choose a probability of 0 .. 1, and two shares of '
                'the image between 0 and 1, the smaller one first'
            )
        self.prob = prob
        self.area = (low, high)

    @cache_randomness
    def _decide(self) -> tuple[bool, float, float, float]:
        mixed = np.random.random_sample() < self.prob
        share = np.random.uniform(*self.area)
        top, left = np.random.random_sample(2)
        return mixed, share, top, left

    def transform(self, results: dict) -> dict:
        """Put the box in.

        Raises:
            RuntimeError: No data set has given a function for the other
                image.
            ValueError: The images differ in size, or have been padded.
        """
        if 'partner' not in results:
            raise RuntimeError(
                f'{self} gets no other image: it has to be a step of the '
                'pipeline of a data set of mmprotomtl, inside no other '
                'transform'
            )
        load = results.pop('partner')
        mixed, share, top, left = self._decide()
        if not mixed:
            return results
        other = load()
        _check_fit(results, other)
        height, width = results['img'].shape[:2]
        rows = min(max(round(height * share**0.5), 1), height)
        cols = min(max(round(width * share**0.5), 1), width)
        row = int(top * (height - rows + 1))
        col = int(left * (width - cols + 1))
        box = (slice(row, row + rows), slice(col, col + cols))
        results['img'] = _pasted(results['img'], other['img'], box)
        ours, theirs = results['gt_maps'], other['gt_maps']
        results['gt_maps'] = {
            name: _pasted(
                ours.get(name, _unlabelled(task, height, width)),
                theirs.get(name, _unlabelled(task, height, width)),
                box,
            )
            for name, task in results['tasks'].items()
            if name in ours or name in theirs
        }
        if 'rays' in results:
            results['rays'] = _pasted(results['rays'], other['rays'], box)
        return results

    def __repr__(self) -> str:
        return f'MultiTaskCutMix(prob={self.prob}, area={self.area})'


def steps_before_mix(steps: Sequence[Callable]) -> list[Callable] | None:
    """The steps that another image goes through before a box is cut from it.

    Args:
        steps: Built transforms of a pipeline.

    Returns:
        Those before :class:`MultiTaskCutMix`; None: it is not among them.

    Raises:
        ValueError: It is there more than once.
    """
    places = [
        place
        for place, step in enumerate(steps)
        if isinstance(step, MultiTaskCutMix)
    ]
    if len(places) > 1:
        raise ValueError(
            f'pipeline: {len(places)} steps are MultiTaskCutMix; give one'
        )
    return [*steps[: places[0]]] if places else None


def _check_fit(one: dict, other: dict) -> None:
    """Check that a box of one image has its place in another.

    Raises:
        ValueError: It has not.
    """
    sizes = [sample['img'].shape[:2] for sample in (one, other)]
    if sizes[0] != sizes[1] or 'content_box' in one:
        state = (
            'padded'
            if 'content_box' in one
            else f'{sizes[0]} and {sizes[1]} pixels (height, width)'
        )
        raise ValueError(
            f'MultiTaskCutMix: images {one.get("sample_id")!r} and '
            f'{other.get("sample_id")!r} are {state}: put it behind the step '
            'that gives all images one size (MultiTaskResize, '
            'MultiTaskRandomCrop), and before MultiTaskPad'
        )


def _unlabelled(task: Task, height: int, width: int) -> np.ndarray:
    """A canonical label in which no pixel has a label."""
    channels = () if task.label_channels == 1 else (task.label_channels,)
    return np.full((height, width, *channels), task.invalid, task.label_dtype)


def _pasted(
    below: np.ndarray, above: np.ndarray, box: tuple[slice, slice]
) -> np.ndarray:
    """A copy of one array with a box of another."""
    result = below.copy()
    result[box] = above[box]
    return result
