"""Neck with codebook, task prototypes and memory (arXiv 2601.07474)."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmprotomtl.models.data_preprocessor import image_mask
from mmprotomtl.models.layers import (
    CodeMemory,
    Reconstruction,
    Retrieval,
    Temperature,
    build_codebook,
    by_task,
)
from mmprotomtl.registry import MODELS
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.tasks import Task

from .multitask_neck import MultiTaskNeck, TaskFeatures, TokenRetrieval


def _count_slots(tasks: int, per_task: int, slots: int | None) -> int:
    """Return the number of prototypes.

    Raises:
        ValueError: There are too few.
    """
    if per_task < 1:
        raise ValueError(
            f'neck.prototypes_per_task={per_task} is not allowed: each task '
            'needs a prototype of its own'
        )
    needed = tasks * per_task
    if slots is not None and slots < needed:
        raise ValueError(
            f'num_slots={slots} is not allowed: each of the {tasks} tasks '
            f'needs {per_task} prototype{"s"[: per_task > 1]} of its own, '
            f'together {needed}; None: as many as that'
        )
    return needed if slots is None else slots


@MODELS.register_module()
class PrototypeNeck(MultiTaskNeck):
    """Neck of the method (arXiv 2601.07474).

    The fused features ``f_e`` are quantised to codes ``f_q``, and the shared
    features are ``f_i = f_e + f_q``. The image is reconstructed from them
    (L_tae). For each task t, a decoder computes ``f_t`` from ``f_i``. The
    cosine similarities S of its projection with the prototypes V give the
    affinities ``A = softmax(S / temperature)`` and, at each position, the
    memory ``f_ta = A V``.

    Affinities, memory and attention work on tokens: ``f_t`` averaged over
    ``token_stride x token_stride`` positions.

    Args:
        tasks: Name -> task.
        in_channels: See :class:`MultiTaskNeck`.
        in_strides: See :class:`MultiTaskNeck`.
        channels: Channels of f_e, f_i and f_t.
        quantizer: Config of the codebook, ``VectorQuantizer``. If its
            ``code_dim`` differs from ``channels``, 1 x 1 convolutions map to
            codes and back; the first gets the gradient of the codes
            (straight-through). With ``num_codes=0``, a control experiment,
            there is no codebook, and ``f_i = f_e``.
        num_slots: Number of prototypes; None: ``prototypes_per_task`` for each
            task. Additional prototypes belong to no task.
        prototypes_per_task: Number of prototypes of each task; 1 in the paper.
            Those of the first task come first.
        prototype_dim: Channels of a prototype, d.
        temperature: Temperature of the affinities. At 1 a position keeps some
            affinity to the prototypes of other tasks; near 0 it has none.
        temperature_end: Temperature after ``temperature_steps`` training
            steps. Its logarithm changes linearly until then. None: it stays.
        temperature_steps: See ``temperature_end``.
        freeze_prototypes: Control experiment: do not train the prototypes.
        memory: Config of the memory; default ``PrototypeMemory``, as in the
            paper.
        token_stride: Side of the square of positions that forms a token.
        reconstruction_channels: Hidden channels of the reconstruction.
        akg_loss: Config of L_akg, ``AKGLoss``.
        lambda_tae: Weight of L_tae.
        lambda_akg: Weight of L_akg.
        **kwargs: See :class:`MultiTaskNeck`.

    Raises:
        ValueError: There are fewer prototypes than the tasks need, a
            temperature is not positive or only one of ``temperature_end`` and
            ``temperature_steps`` is given, or there is no codebook and a
            setting needs one.
    """

    def __init__(
        self,
        tasks: dict[str, Task],
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        channels: int = 512,
        quantizer: dict | None = None,
        num_slots: int | None = None,
        prototypes_per_task: int = 1,
        prototype_dim: int = 1024,
        temperature: float = 1.0,
        temperature_end: float | None = None,
        temperature_steps: int | None = None,
        freeze_prototypes: bool = False,
        memory: dict | None = None,
        token_stride: int = 2,
        reconstruction_channels: int = 128,
        akg_loss: dict | None = None,
        lambda_tae: float = 1.0,
        lambda_akg: float = 1.0,
        **kwargs,
    ) -> None:
        super().__init__(tasks, in_channels, in_strides, channels, **kwargs)
        num_slots = _count_slots(len(tasks), prototypes_per_task, num_slots)
        self.prototypes_per_task = prototypes_per_task
        self.temperature = Temperature(
            temperature, temperature_end, temperature_steps
        )
        self.token_stride = token_stride
        self.lambda_tae = lambda_tae
        self.lambda_akg = lambda_akg

        self.quantizer = build_codebook(quantizer, channels)
        codebook = self.quantizer
        code_dim = channels if codebook is None else codebook.code_dim
        self.to_codes: nn.Module = nn.Identity()
        self.from_codes: nn.Module = nn.Identity()
        if code_dim != channels:
            self.to_codes = nn.Conv2d(channels, code_dim, 1)
            self.from_codes = nn.Conv2d(code_dim, channels, 1)
        self.reconstruction = Reconstruction(
            channels, self.stride, reconstruction_channels
        )
        self.projections = nn.ModuleList(
            nn.Linear(channels, prototype_dim) for _ in tasks
        )
        self.prototypes = nn.Parameter(
            torch.randn(num_slots, prototype_dim),
            requires_grad=not freeze_prototypes,
        )
        self.memory = MODELS.build(
            {'type': 'PrototypeMemory', **(memory or {})},
            default_args=dict(
                num_tasks=len(tasks),
                channels=channels,
                prototype_dim=prototype_dim,
            ),
        )
        if self.quantizer is None and isinstance(self.memory, CodeMemory):
            raise ValueError(
                "neck.memory.type='CodeMemory' is not allowed with "
                'neck.quantizer.num_codes=0: there are no codes to read'
            )
        self.akg_loss = MODELS.build(
            {'type': 'AKGLoss', **(akg_loss or {})},
            default_args=dict(prototypes_per_task=prototypes_per_task),
        )
        # Sum of the affinities since the last call of `statistics`.
        free = num_slots - len(tasks) * prototypes_per_task
        shape = (len(tasks), len(tasks) + free)
        self.register_buffer('affinity_sum', torch.zeros(shape), False)
        self.register_buffer('affinity_count', torch.zeros(()), False)

    @property
    def memory_channels(self) -> int:
        """Channels of the memory f_ta."""
        return self.memory.out_channels

    def forward(self, feats: Sequence[Tensor]) -> TaskFeatures:
        """Compute the features of all tasks and the memory.

        Args:
            feats: Feature maps of the backbone, ``N x C_i x h_i x w_i``.
        """
        shared = embedded = self.fusion(feats)
        codes = self._codes(embedded)
        if codes is not None:
            shared = embedded + codes  # f_i = f_e + f_q
        features = self.decode(shared)
        tokens = [self._tokens(feature) for feature in features]
        # Tasks are processed one after the other to save memory: projections
        # are large, and only their mean is needed later.
        both = zip(self.projections, tokens, strict=True)
        associated = [self._associate(proj(own)) for proj, own in both]
        similarity, means = (
            torch.stack(x) for x in zip(*associated, strict=True)
        )
        logits = similarity / self.temperature()
        affinity = logits.softmax(-1)
        height, width = shared.shape[-2:]
        stride = self.token_stride
        grid = (-(-height // stride), -(-width // stride))
        source = Retrieval(
            affinity.to(tokens[0].dtype),
            self.prototypes,
            tokens,
            None if codes is None else self._tokens(codes),
            grid,
            self.prototypes_per_task,
        )
        if self.training:
            self._remember(affinity)
        return TaskFeatures(
            features,
            TokenRetrieval(tokens, grid, partial(self.memory, source)),
            dict(shared=shared, logits=logits, means=means),
        )

    def _codes(self, embedded: Tensor) -> Tensor | None:
        """Return the codes f_q of f_e, both ``N x C x h x w``."""
        if self.quantizer is None:
            return None
        mapped = self.to_codes(embedded)
        codes = self.quantizer(mapped).codes
        if self.quantizer.code_dim != embedded.shape[1]:
            # The look-up gives its input no gradient, so the map would stay
            # random (and DDP would wait for it): straight-through.
            codes = codes + (mapped - mapped.detach())
        return self.from_codes(codes)

    def _tokens(self, feature: Tensor) -> Tensor:
        """Average features ``N x C x h x w`` to tokens ``N x L x C``.

        Tokens at the right and bottom border may cover fewer positions.
        """
        if self.token_stride > 1:
            feature = F.avg_pool2d(
                feature,
                self.token_stride,
                ceil_mode=True,
                count_include_pad=False,
            )
        return feature.flatten(2).transpose(1, 2).contiguous()

    def _associate(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        """Compare one task's projected tokens with the prototypes.

        Args:
            projected: ``N x L x d``.

        Returns:
            In float32, the cosine similarity with each prototype,
            ``N x L x S``, and the mean token, ``N x d``.
        """
        with torch.autocast(projected.device.type, enabled=False):
            projected = projected.float()
            prototypes = F.normalize(self.prototypes.float(), dim=-1)
            # The products are divided by the tokens' lengths. Normalising the
            # tokens would keep another copy of them for the gradients.
            length = projected.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            return projected @ prototypes.t() / length, projected.mean(1)

    @torch.no_grad()
    def _remember(self, affinity: Tensor) -> None:
        mean = affinity.mean((1, 2))
        tasks = len(mean)
        free = mean[:, tasks * self.prototypes_per_task :]
        owned = by_task(mean, tasks, self.prototypes_per_task)
        self.affinity_sum += torch.cat([owned, free], 1)
        self.affinity_count += 1

    def loss(
        self,
        features: TaskFeatures,
        inputs: Tensor,
        data_samples: list[MultiTaskDataSample],
    ) -> dict[str, Tensor]:
        """Compute the weighted losses L_tae, L_tke and L_tc.

        Args:
            features: Output of :meth:`forward`.
            inputs: The normalised images, ``N x 3 x H x W``.
            data_samples: Samples of the images, which have the padding.

        Returns:
            ``tae.loss``, ``tke.loss`` and ``tc.loss``, scalars.
        """
        assert features.extras is not None
        image = self.reconstruction(features.extras['shared'])
        height, width = inputs.shape[-2:]
        image = image[..., :height, :width]
        if image.shape[-2:] != inputs.shape[-2:]:
            image = F.interpolate(image, (height, width), mode='bilinear')
        # L_tae = smooth-L1(I_r, I), without the padding.
        mask = image_mask(inputs, data_samples).expand_as(inputs)
        error = F.smooth_l1_loss(image.float(), inputs, reduction='none')
        error = torch.where(mask, error, error.new_zeros(()))
        akg = self.akg_loss(
            features.extras['logits'], features.extras['means']
        )
        # One task alone has no other to keep away from: L_tc is 0.
        others = len(features.features) - 1
        self.counted = {'tc.loss': error.new_full((), others)}
        return {
            'tae.loss': self.lambda_tae * error.sum() / mask.sum(),
            'tke.loss': self.lambda_akg * akg['tke'],
            'tc.loss': self.lambda_akg * akg['tc'],
        }

    def statistics(self) -> dict:
        """Return statistics for the log since the last call.

        Returns:
            ``codebook``: see :meth:`VectorQuantizer.usage`, empty if there is
            none; ``affinity``: the mean affinity of each task (row) to the
            prototypes of each task together, and to each prototype of none.
        """
        codebook = self.quantizer
        mean = self.affinity_sum / self.affinity_count.clamp(min=1)
        result = dict(
            codebook={} if codebook is None else codebook.usage(),
            affinity=mean.cpu().numpy(),
        )
        self.affinity_sum.zero_()
        self.affinity_count.zero_()
        return result
