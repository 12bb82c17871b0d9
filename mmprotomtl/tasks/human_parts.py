"""Segmentation of people into body parts."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from mmprotomtl.registry import TASKS

from .semseg import SemSegTask

PARTS = (
    'background',
    'head',
    'torso',
    'upper arm',
    'lower arm',
    'upper leg',
    'lower leg',
)


@TASKS.register_module(name='human_parts')
class HumanPartsTask(SemSegTask):
    """A body part for every pixel, 0 = background (PASCAL-Part, 6 parts).

    An image, or a crop of one, without a part pixel counts as unlabelled: it
    is in neither loss nor metric, as in ASTMT and all that followed.

    Args:
        num_classes: Number of parts with the background.
        classes: Their names.
    """

    default_weight: ClassVar[float] = 2.0

    def __init__(
        self,
        num_classes: int = len(PARTS),
        classes: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if classes is None and num_classes == len(PARTS):
            classes = PARTS
        super().__init__(num_classes=num_classes, classes=classes, **kwargs)

    def largest_share(self, label: np.ndarray) -> float | None:
        """None: background fills nearly every window, and belongs there."""
        del label
        return None

    def valid(self, label: Tensor) -> Tensor:
        """Labelled pixels of the images in which a part is seen."""
        valid = super().valid(label)
        person = (valid & (label[:, 0] > 0)).flatten(1).any(1)
        return valid & person[:, None, None]
