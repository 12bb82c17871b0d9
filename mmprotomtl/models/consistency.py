"""Consistency of task features between two views, with a mean teacher."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn import functional as F

from mmprotomtl.models.heads import MultiTaskHead
from mmprotomtl.models.necks import MultiTaskNeck, TaskFeatures
from mmprotomtl.registry import MODELS
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.utils.dist import sum_over_ranks

#: What the names of the teacher's weights begin with in a network's weights.
#: Only training needs them.
TEACHER = 'consistency.'


@MODELS.register_module()
class FeatureConsistency(nn.Module):
    """Make features of unlabelled tasks agree with a teacher's.

    The teacher is a moving average of neck and head (mean teacher, Tarvainen
    and Valpola, NeurIPS 2017). It sees another view of the backbone's feature
    maps: mirrored, and without some channels. For each (image, task) pair
    without a label, the features f_tr from which the network would predict
    are drawn to those of the teacher, mirrored back. The loss is 1 - cosine
    similarity, averaged over the positions and over all such pairs of the
    batch (all ranks). No prediction is a target. Positions of padding count
    like others.

    A mirrored view is used for tasks whose values do not change when the image
    is mirrored (``Task.value_map``). Normals do, so their features must not
    agree; they take part in the steps without mirroring only.

    The teacher is updated at the start of each training step, from the weights
    after the step before. In step n (from 0) it keeps the share
    min(decay, n / (n + 1)) of itself. It is part of checkpoints. If weights
    are loaded that have no teacher (published ones, or of a network trained
    without), it starts as a copy of the network at the next training step.

    Args:
        neck: The network's neck; it is copied.
        head: The network's head; it is copied.
        weight: Weight of the loss, above 0.
        flip: Probability with which the view of a step is mirrored.
        dropout: Probability with which a channel of the view is set to 0; the
            others are scaled by 1 / (1 - dropout).
        decay: Share of itself that the teacher keeps in a step.

    Raises:
        ValueError: A value is not allowed.
    """

    steps: Tensor

    def __init__(
        self,
        neck: MultiTaskNeck,
        head: MultiTaskHead,
        weight: float = 1.0,
        flip: float = 0.5,
        dropout: float = 0.1,
        decay: float = 0.99,
    ) -> None:
        super().__init__()
        for key, value, allowed, words in (
            ('weight', weight, weight > 0, 'above 0'),
            ('flip', flip, 0 <= flip <= 1, 'from 0 to 1'),
            ('dropout', dropout, 0 <= dropout < 1, 'from 0 to below 1'),
            ('decay', decay, 0 <= decay < 1, 'from 0 to below 1'),
        ):
            if not allowed:
                raise ValueError(
                    f'model.consistency.{key}={value} is not allowed: it must '
                    f'be {words}'
                )
        self.weight = weight
        self.flip = flip
        self.dropout = dropout
        self.decay = decay
        #: Whether mirroring an image keeps the values of each task.
        self.mirrored = [
            task.value_map(flip='horizontal', scale=1.0) is None
            for task in head.tasks.values()
        ]
        self.neck = copy.deepcopy(neck).requires_grad_(False)
        self.head = copy.deepcopy(head).requires_grad_(False)
        self.register_buffer('steps', torch.zeros((), dtype=torch.long))
        #: Name of the loss -> number of pairs that its last value is made of.
        self.counted: dict[str, Tensor] = {}
        self.register_load_state_dict_pre_hook(_start_anew)
        self.train(False)

    def train(self, mode: bool = True) -> 'FeatureConsistency':
        """The teacher always runs as in a test."""
        del mode
        return super().train(False)

    @torch.no_grad()
    def update(self, neck: MultiTaskNeck, head: MultiTaskHead) -> None:
        """Move the teacher towards the network; buffers are copied."""
        number = self.steps.float()
        step = 1 - (number / (number + 1)).clamp(max=self.decay)
        for ours, theirs in ((self.neck, neck), (self.head, head)):
            both = zip(ours.parameters(), theirs.parameters(), strict=True)
            for own, other in both:
                own.lerp_(other, step.to(own.dtype))
            for own, other in zip(
                ours.buffers(), theirs.buffers(), strict=True
            ):
                own.copy_(other)
        self.steps += 1

    def forward(
        self,
        neck: MultiTaskNeck,
        head: MultiTaskHead,
        maps: Sequence[Tensor],
        features: TaskFeatures,
        data_samples: list[MultiTaskDataSample],
    ) -> dict[str, Tensor]:
        """Update the teacher and compute the loss.

        Args:
            neck: The network's neck.
            head: The network's head.
            maps: Feature maps of the backbone, ``N x C_i x h_i x w_i``.
            features: What the neck makes of them.
            data_samples: Samples of the images, which have the labels.

        Returns:
            ``consistency.loss``, a scalar; 0 if no pair lacks its label.
        """
        self.update(neck, head)
        mirror = torch.rand(()).item() < self.flip
        pairs: list[list[int]] = [
            [
                row
                for row, sample in enumerate(data_samples)
                if sample.label(name) is None and (same or not mirror)
            ]
            for name, same in zip(head.tasks, self.mirrored, strict=True)
        ]
        own = head.refine(features, pairs)
        target = self._targets(maps, pairs, mirror)
        total = sum(
            (distance(a, b).sum() for a, b in zip(own, target, strict=True)),
            features.features[0].new_zeros((), dtype=torch.float32),
        )
        count = total.new_full((), sum(map(len, pairs)))
        self.counted = {'consistency.loss': count}
        count = sum_over_ranks(count).clamp(min=1)
        # DDP averages gradients over ranks.
        loss = self.weight * total * get_world_size() / count
        return {'consistency.loss': loss}

    @torch.no_grad()
    def _targets(
        self, maps: Sequence[Tensor], pairs: list[list[int]], mirror: bool
    ) -> list[Tensor]:
        """Return the teacher's features of the pairs, mirrored back."""
        view = [F.dropout2d(each.detach(), self.dropout) for each in maps]
        if mirror:
            view = [each.flip(-1) for each in view]
        found = self.head.refine(self.neck(view), pairs)
        return [each.flip(-1) for each in found] if mirror else found


def distance(features: Tensor, targets: Tensor) -> Tensor:
    """Return 1 - cosine similarity, averaged over positions, in float32.

    Args:
        features: ``n x C x h x w``.
        targets: ``n x C x h x w``.

    Returns:
        Shape ``n``.
    """
    similarity = F.cosine_similarity(features.float(), targets.float(), dim=1)
    return (1 - similarity).mean((1, 2))


def _start_anew(
    module: nn.Module, state: dict[str, Any], prefix: str, *_: Any
) -> None:
    """Let the teacher start anew if loaded weights have none.

    Args:
        module: The :class:`FeatureConsistency`.
        state: torch's copy of the weights to load; it is completed.
        prefix: Beginning of the names of the module's weights.
    """
    if any(name.startswith(prefix) for name in state):
        return
    print_log(
        f'The loaded weights have no {prefix}*, the mean teacher: it starts '
        'as a copy of the network',
        logger='current',
    )
    for name, value in module.state_dict().items():
        state[prefix + name] = value
    state[f'{prefix}steps'] = torch.zeros_like(state[f'{prefix}steps'])
