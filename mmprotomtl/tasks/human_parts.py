"""Segmentation of people into body parts."""

from collections.abc import Mapping, Sequence
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

    A label that is derived from one of semantic segmentation
    (``derived_labels``) is background where nobody is, and unlabelled where
    somebody is. It needs ``learn_background``.

    Args:
        num_classes: Number of parts with the background.
        classes: Their names.
        learn_background: Whether an image without a part pixel is in the
            loss, too; it is in no metric.
    """

    default_weight: ClassVar[float] = 2.0
    made_of: ClassVar[str | None] = 'people'

    def __init__(
        self,
        num_classes: int = len(PARTS),
        classes: Sequence[str] | None = None,
        learn_background: bool = False,
        **kwargs: Any,
    ) -> None:
        if classes is None and num_classes == len(PARTS):
            classes = PARTS
        super().__init__(num_classes=num_classes, classes=classes, **kwargs)
        self.learn_background = learn_background

    def implies(self, has_camera: bool) -> Mapping[str, str]:
        """Nothing: boundaries of parts are not those of objects."""
        del has_camera
        return {}

    def cannot_derive(self) -> str:
        """Background alone counts as unlabelled without a setting."""
        if self.learn_background:
            return ''
        return f'tasks.{self.name}.learn_background=True'

    def derive(self, implied: np.ndarray) -> np.ndarray:
        """Background where nobody is; which part it is does not follow."""
        return np.where(implied == 0, np.uint8(0), np.uint8(self.invalid))

    def loss(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy, mean over the valid pixels of each image; with
        ``learn_background`` over the labelled ones.
        """
        return self.cross_entropy(
            logits,
            label,
            super().valid(label)
            if self.learn_background
            else self.valid(label),
        )

    def largest_share(self, label: np.ndarray) -> float | None:
        """None: background fills nearly every window, and belongs there."""
        del label
        return None

    def valid(self, label: Tensor) -> Tensor:
        """Labelled pixels of the images in which a part is seen."""
        valid = super().valid(label)
        person = (valid & (label[:, 0] > 0)).flatten(1).any(1)
        return valid & person[:, None, None]
