"""Edges."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional as F

from mmprotomtl.registry import TASKS
from mmprotomtl.utils.errors import check_choice

from .base import masked_mean
from .binary import BinaryTask

#: How lines of published tables score edges.
EDGE_PROTOCOLS = {
    'default': dict(num_thresholds=99, nms=False),
    'astmt': dict(num_thresholds=99, nms=True),
    'mtinet': dict(num_thresholds=99, nms=False),
    'invpt': dict(num_thresholds=101, nms=True),
}


@TASKS.register_module(name='edge')
class EdgeTask(BinaryTask):
    """Object boundaries.

    Loss: binary cross-entropy in which a boundary pixel weighs
    ``positive_weight`` and any other 1 - ``positive_weight``.

    Args:
        positive_weight: Weight of a boundary pixel, 0 .. 1.
        max_dist: How far, as a share of the image's diagonal, a predicted
            pixel may lie from the true one that it is matched to: .0075 for
            PASCAL-Context, .011 for NYUD-v2.
        protocol: A key of ``EDGE_PROTOCOLS``: thresholds and suppression.
        num_thresholds: Another number of thresholds; fewer are faster.
        class_boundaries: Whether the edges of the data set are the boundaries
            between the classes of its label of semantic segmentation, so that
            they follow from it (``derived_labels``). Those that
            ``tools/dataset_converters/nyuv2.py`` makes are; those of
            PASCAL-Context, of 459 classes, and of single objects are not.
    """

    default_weight: ClassVar[float] = 50.0
    metric_directions: ClassVar[Mapping[str, bool]] = {
        'odsF': True,
        'oisF': True,
        'AP': True,
    }
    default_metric: ClassVar[str] = 'odsF'
    made_of: ClassVar[str | None] = 'boundaries'
    plausible_share: ClassVar[tuple[float, float]] = (0.0005, 0.4)

    def __init__(
        self,
        positive_weight: float = 0.95,
        max_dist: float = 0.0075,
        protocol: str = 'default',
        num_thresholds: int | None = None,
        class_boundaries: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.class_boundaries = class_boundaries
        if not 0 < positive_weight < 1:
            raise ValueError(
                f'tasks.{self.name}.positive_weight={positive_weight} is not '
                'allowed: choose a value between 0 and 1'
            )
        self.positive_weight = positive_weight
        self.max_dist = max_dist
        check_choice(f'tasks.{self.name}.protocol', protocol, EDGE_PROTOCOLS)
        self.protocol = protocol
        self.num_thresholds = num_thresholds

    def cannot_derive(self) -> str:
        """Edges of objects and parts are more than those of classes."""
        if self.class_boundaries:
            return ''
        return (
            f'tasks.{self.name}.class_boundaries=True, if the edges of the '
            'data set are those of its classes'
        )

    @property
    def out_channels(self) -> int:
        """One logit."""
        return 1

    def loss(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted binary cross-entropy, mean over the valid pixels."""
        valid = self.valid(label)
        target = label[:, 0].to(logits.dtype).masked_fill(~valid, 0)
        negative = 1 - self.positive_weight
        weight = negative + target * (self.positive_weight - negative)
        loss = F.binary_cross_entropy_with_logits(
            logits[:, 0], target, weight=weight, reduction='none'
        )
        return masked_mean(loss, valid)

    def predict(self, logits: Tensor) -> Tensor:
        """Probability of a boundary, ``N x 1 x H x W``."""
        return logits.sigmoid()

    def default_measures(self) -> list[dict[str, Any]]:
        """F-measures of the boundary benchmark."""
        return self.protocol_measures(self.protocol)

    def protocol_measures(self, protocol: str) -> list[dict[str, Any]]:
        """The benchmark as a line of published tables runs it."""
        settings = dict(
            EDGE_PROTOCOLS.get(protocol, EDGE_PROTOCOLS['default'])
        )
        if self.num_thresholds is not None:
            settings['num_thresholds'] = self.num_thresholds
        return [dict(type='BoundaryF', max_dist=self.max_dist, **settings)]
