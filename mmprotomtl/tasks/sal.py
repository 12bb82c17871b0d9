"""Saliency."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional as F

from mmprotomtl.registry import TASKS

from .base import masked_mean
from .binary import BinaryTask


@TASKS.register_module(name='sal')
class SaliencyTask(BinaryTask):
    """Which pixels draw the eye.

    Loss: two-channel cross-entropy in which each class weighs the other's
    share of the image's pixels, as in the recipes of ASTMT and MTI-Net.
    """

    default_weight: ClassVar[float] = 5.0
    metric_directions: ClassVar[Mapping[str, bool]] = {
        'maxF': True,
        'MAE': False,
        'mIoU': True,
    }
    default_metric: ClassVar[str] = 'maxF'
    plausible_share: ClassVar[tuple[float, float]] = (0.005, 0.95)

    @property
    def out_channels(self) -> int:
        """Background and foreground."""
        return 2

    def loss(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Balanced cross-entropy, mean over each image's valid pixels."""
        valid = self.valid(label)
        target = label[:, 0].long().masked_fill(~valid, 0)
        share = masked_mean(target.to(logits.dtype), valid)[0][:, None, None]
        weight = share + target * (1 - 2 * share)
        loss = weight * F.cross_entropy(logits, target, reduction='none')
        return masked_mean(loss, valid)

    def predict(self, logits: Tensor) -> Tensor:
        """Probability of the foreground, ``N x 1 x H x W``."""
        return logits.softmax(1)[:, 1:]

    def default_measures(self) -> list[dict[str, Any]]:
        """Maximal F-measure, pooled over the data set, and MAE; also mIoU
        where it stands for the task.
        """
        return [dict(type='ForegroundF'), *self._overlap()]

    def protocol_measures(self, protocol: str) -> list[dict[str, Any]]:
        """InvPT's maxF has a second sigmoid before the thresholds; MTI-Net's
        and MTPSL's tables hold ``mIoU`` (set ``metric='mIoU'`` where it shall
        stand for the task).
        """
        if protocol == 'invpt':
            f_measure = dict(type='ForegroundF', compatible=True)
            return [f_measure, *self._overlap()]
        return [dict(type='ForegroundF'), dict(type='ForegroundOverlap')]

    def _overlap(self) -> list[dict[str, Any]]:
        """The measure of ``mIoU``, if a config asks for it."""
        wanted = self.standing_metric == 'mIoU'
        return [dict(type='ForegroundOverlap')] if wanted else []
