"""Head with a linear prediction per task, and the losses of labelled pairs."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmprotomtl.models.layers import take
from mmprotomtl.models.losses import REDUCTIONS, reduce_over_labels
from mmprotomtl.models.necks import TaskFeatures
from mmprotomtl.registry import MODELS
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.tasks import Task
from mmprotomtl.utils.errors import check_choice


@MODELS.register_module()
class MultiTaskHead(BaseModule):
    """Baseline head: a 1 x 1 convolution for each task.

    In training, predictions and losses are computed only for (image, task)
    pairs that have a label.

    Args:
        tasks: Name -> task.
        in_channels: Channels of the task features.
        memory_channels: Channels of the neck's memory; this head has no use
            for it.
        reduction: How losses of a partially labelled batch are reduced; see
            :func:`~mmprotomtl.models.losses.reduce_over_labels`.
    """

    def __init__(
        self,
        tasks: dict[str, Task],
        in_channels: int,
        memory_channels: int | None = None,
        reduction: str = 'balanced',
        init_cfg: dict | list | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = [
                dict(type='Normal', layer='Conv2d', std=0.01),
                dict(type='TruncNormal', layer='Linear', std=0.02),
                dict(type='Constant', layer='LayerNorm', val=1),
            ]
        super().__init__(init_cfg)
        check_choice('head.reduction', reduction, REDUCTIONS)
        self.tasks = tasks
        self.reduction = reduction
        self.predictors = nn.ModuleList(
            nn.Conv2d(in_channels, task.out_channels, 1)
            for task in tasks.values()
        )
        # Number of labels with a valid pixel per task since the start of the
        # run, for the check that every task is trained.
        self.register_buffer('labels_seen', torch.zeros(len(tasks)), False)
        #: Name of a loss -> number of images that its last value is made of.
        self.counted: dict[str, Tensor] = {}

    @property
    def reads_memory(self) -> bool:
        """Whether predictions depend on the neck's memory."""
        return False

    def refine(
        self, features: TaskFeatures, pairs: list[list[int]]
    ) -> list[Tensor]:
        """Return the features from which some (image, task) pairs are
        predicted.

        Args:
            features: Output of the neck.
            pairs: For each task, the indices of the images to use.

        Returns:
            For each task, ``n_t x C x h x w``, where n_t is the number of its
            images in ``pairs``.
        """
        return [
            take(feature, rows)
            for feature, rows in zip(features.features, pairs, strict=True)
        ]

    def forward(self, features: TaskFeatures) -> list[Tensor]:
        """Predict all tasks for all images.

        Returns:
            For each task, logits ``N x C_t x h x w`` at the features' stride.
        """
        images = list(range(len(features.features[0])))
        refined = self.refine(features, [images] * len(self.tasks))
        return [
            predictor(feature)
            for predictor, feature in zip(
                self.predictors, refined, strict=True
            )
        ]

    def loss(
        self, features: TaskFeatures, data_samples: list[MultiTaskDataSample]
    ) -> dict[str, Tensor]:
        """Compute the weighted loss of each task.

        A task without a label in the batch has loss 0, and its number in
        :attr:`counted` is 0. Its parameters still get a gradient (of zeros),
        which DDP requires.

        Args:
            features: Output of the neck.
            data_samples: Samples with labels.

        Returns:
            ``<task>.loss`` -> scalar, and ``<task>.loss_guided`` of a task
            that learns from labels of others (:meth:`Task.guide_loss`).
        """
        pairs = [
            [
                i
                for i, s in enumerate(data_samples)
                if s.label(name) is not None
            ]
            for name in self.tasks
        ]
        guides = [
            _find_guides(task, self.tasks, data_samples)
            for task in self.tasks.values()
        ]
        refined = self.refine(
            features,
            [[*a, *b] for a, b in zip(pairs, guides, strict=True)],
        )
        losses, labelled, unused, guided = [], [], 0, {}
        self.counted = {}
        for task, predictor, feature, rows, guide in zip(
            self.tasks.values(), self.predictors, refined, pairs, guides,
            strict=True,
        ):  # fmt: skip
            logits = predictor(feature)
            if task.guide_weight:
                key = f'{task.name}.loss_guided'
                guided[key], self.counted[key] = _guided_loss(
                    task, logits[len(rows) :], guide, data_samples
                )
                logits = logits[: len(rows)]
            if rows:
                label = torch.stack(
                    [data_samples[i].gt_maps.get(task.name) for i in rows]
                )
                loss, count = _task_loss(task, logits, label)
            else:
                unused = unused + logits.sum()
                loss = logits.new_zeros(0, dtype=torch.float32)
                count = logits.new_zeros(0)
            losses.append(spread(loss, rows, len(data_samples)))
            labelled.append(spread(count > 0, rows, len(data_samples)))
        has_label = torch.stack(labelled, 1)
        seen = has_label.sum(0)
        self.labels_seen += seen
        self.counted |= {
            f'{name}.loss': count
            for name, count in zip(self.tasks, seen, strict=True)
        }
        total = reduce_over_labels(
            torch.stack(losses, 1), has_label, self.reduction
        )
        total = total + 0 * unused
        return guided | {
            f'{name}.loss': task.loss_weight * total[i]
            for i, (name, task) in enumerate(self.tasks.items())
        }


def spread(values: Tensor, rows: list[int], length: int) -> Tensor:
    """Return a vector of zeros with ``values`` at the indices ``rows``.

    Args:
        values: Shape ``len(rows)``.
        rows: Indices, all different.
        length: Length of the result.
    """
    result = values.new_zeros(length)
    if not rows:
        return result
    index = torch.tensor(rows).to(values.device, non_blocking=True)
    return result.index_put((index,), values)


def _find_guides(
    task: Task,
    tasks: dict[str, Task],
    data_samples: list[MultiTaskDataSample],
) -> dict[int, Tensor]:
    """The images on which a task learns from a visible label of another.

    Args:
        task: The task.
        tasks: All tasks.
        data_samples: Samples with labels.

    Returns:
        Index of an image without a label of the task -> the other label.
    """
    if not task.guide_weight:
        return {}
    others = [o.name for o in tasks.values() if o.made_of == task.guided_by]
    found = {}
    for place, sample in enumerate(data_samples):
        if sample.label(task.name) is not None:
            continue
        for name in others:
            label = sample.label(name)
            if label is not None:
                found[place] = label
    return found


def _guided_loss(
    task: Task,
    logits: Tensor,
    guide: dict[int, Tensor],
    data_samples: list[MultiTaskDataSample],
) -> tuple[Tensor, Tensor]:
    """The weighted loss of a task by labels of others: the sum over images,
    divided by their number in the batch.

    Args:
        task: The task.
        logits: Of the guided images, in their order.
        guide: What :func:`_find_guides` returned.
        data_samples: All samples of the batch.

    Returns:
        The loss, and the number of images that it is made of.
    """
    if not guide:
        return logits.sum() * 0, logits.new_zeros(())
    label = torch.stack(list(guide.values()))
    rays = torch.stack([data_samples[i].rays for i in guide])
    with torch.autocast(logits.device.type, enabled=False):
        logits = F.interpolate(
            logits.float(), label.shape[-2:], mode='bilinear'
        )
        loss, count = task.guide_loss(logits, label, rays)
    total = task.guide_weight * loss.sum() / len(data_samples)
    return total, (count > 0).sum()


def _task_loss(
    task: Task, logits: Tensor, label: Tensor
) -> tuple[Tensor, Tensor]:
    """Upsample logits to the label's size; return loss and valid count.

    Both are computed in float32, per image.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = F.interpolate(
            logits.float(), label.shape[-2:], mode='bilinear'
        )
        return task.loss(logits, label)
