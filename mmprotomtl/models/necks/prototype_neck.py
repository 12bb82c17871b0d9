"""Shared knowledge, task prototypes and what each position retrieves."""

from collections.abc import Sequence
from functools import partial

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmprotomtl.models.data_preprocessor import image_mask
from mmprotomtl.models.layers import Retrieval
from mmprotomtl.registry import MODELS
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.tasks import Task

from .multitask_neck import MultiTaskNeck, TaskFeatures, TokenRetrieval


class Reconstruction(nn.Sequential):
    """Gives the image back from the shared features, by sub-pixels.

    Args:
        channels: Width of the shared features.
        stride: Their stride.
        hidden: Width in between.
    """

    def __init__(self, channels: int, stride: int, hidden: int) -> None:
        super().__init__(
            ConvModule(channels, hidden, 3, padding=1),
            nn.Conv2d(hidden, 3 * stride**2, 3, padding=1),
            nn.PixelShuffle(stride),
        )


@MODELS.register_module()
class PrototypeNeck(MultiTaskNeck):
    """The method's neck (arXiv 2601.07474).

    ``f_e`` (fused scales) -> ``f_q`` (nearest code) -> ``f_i = f_e + f_q`` ->
    image (L_tae) and, for each task t, decoder -> ``f_t`` -> cosine of its
    projection with the prototypes, S -> ``A = softmax(S / temperature)`` ->
    memory ``f_ta = A V``, one for each position.

    Affinities, memory and attention work at ``token_stride``: features are
    averaged over that many positions a side first.

    Args:
        tasks: The tasks, by name.
        in_channels: See :class:`MultiTaskNeck`.
        in_strides: See :class:`MultiTaskNeck`.
        channels: Width of f_e, f_i and f_t.
        quantizer: The codebook, ``VectorQuantizer``. Where its ``code_dim``
            is not ``channels``, linear maps go to it and back.
        num_slots: Number of prototypes; None: one for each task, the paper's.
            More are slots that no task is drawn to.
        prototype_dim: Width of a prototype, d.
        temperature: Of the affinities. At 1 a position keeps some affinity to
            other tasks' prototypes; towards 0 it has none.
        freeze_prototypes: Control experiment: leave them as they were drawn.
        memory: What the cross-attention reads; the paper's
            ``PrototypeMemory``.
        token_stride: Positions a side that become one token.
        reconstruction_channels: Width of the decoder that gives the image.
        akg_loss: L_akg, ``AKGLoss``.
        lambda_tae: Factor of L_tae.
        lambda_akg: Factor of L_akg.
        **kwargs: See :class:`MultiTaskNeck`.

    Raises:
        ValueError: There are fewer slots than tasks, or the temperature is
            not positive.
    """

    def __init__(
        self,
        tasks: dict[str, Task],
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        channels: int = 512,
        quantizer: dict | None = None,
        num_slots: int | None = None,
        prototype_dim: int = 1024,
        temperature: float = 1.0,
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
        num_slots = len(tasks) if num_slots is None else num_slots
        if num_slots < len(tasks):
            raise ValueError(
                f'num_slots={num_slots} is not allowed: each of the '
                f'{len(tasks)} tasks needs a prototype of its own'
            )
        if temperature <= 0:
            raise ValueError(
                f'temperature={temperature} is not allowed: it is positive'
            )
        self.temperature = temperature
        self.token_stride = token_stride
        self.lambda_tae = lambda_tae
        self.lambda_akg = lambda_akg

        quantizer = dict(quantizer or {})
        quantizer.setdefault('type', 'VectorQuantizer')
        quantizer.setdefault('code_dim', channels)
        self.quantizer = MODELS.build(quantizer)
        code_dim = self.quantizer.code_dim
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
        self.akg_loss = MODELS.build({'type': 'AKGLoss', **(akg_loss or {})})
        # Affinities since the log last asked for their mean.
        shape = (len(tasks), num_slots)
        self.register_buffer('affinity_sum', torch.zeros(shape), False)
        self.register_buffer('affinity_count', torch.zeros(()), False)

    @property
    def memory_channels(self) -> int:
        """Width of f_ta."""
        return self.memory.out_channels

    def forward(self, feats: Sequence[Tensor]) -> TaskFeatures:
        """From the backbone's feature maps to features and memory."""
        embedded = self.fusion(feats)
        codes = self.from_codes(self.quantizer(self.to_codes(embedded)).codes)
        shared = embedded + codes  # f_i = f_e + f_q
        features = self.decode(shared)
        tokens = [self._tokens(feature) for feature in features]
        # One task after the other: projections are wide, and only their mean
        # is needed later.
        both = zip(self.projections, tokens, strict=True)
        associated = [self._associate(proj(own)) for proj, own in both]
        similarity, means = (
            torch.stack(x) for x in zip(*associated, strict=True)
        )
        logits = similarity / self.temperature
        affinity = logits.softmax(-1)
        source = Retrieval(
            affinity.to(tokens[0].dtype),
            self.prototypes,
            tokens,
            self._tokens(codes),
        )
        if self.training:
            self._remember(affinity)
        grid = [-(-n // self.token_stride) for n in shared.shape[-2:]]
        return TaskFeatures(
            features,
            TokenRetrieval(
                tokens, (grid[0], grid[1]), partial(self.memory, source)
            ),
            dict(shared=shared, logits=logits, means=means),
        )

    def _tokens(self, feature: Tensor) -> Tensor:
        """``N x C x h x w``, averaged to the token stride, as ``N x L x C``;
        the last tokens of a side may be narrower.
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
        """Of one task's projected tokens, ``N x L x d``, S: their cosine with
        each prototype, ``N x L x S``, and their mean, ``N x d``; in float32.
        """
        with torch.autocast(projected.device.type, enabled=False):
            projected = projected.float()
            prototypes = F.normalize(self.prototypes.float(), dim=-1)
            # Products are divided by the tokens' lengths: tokens of length 1
            # would be one more copy to keep for the gradients.
            length = projected.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            return projected @ prototypes.t() / length, projected.mean(1)

    @torch.no_grad()
    def _remember(self, affinity: Tensor) -> None:
        self.affinity_sum += affinity.mean((1, 2))
        self.affinity_count += 1

    def loss(
        self,
        features: TaskFeatures,
        inputs: Tensor,
        data_samples: list[MultiTaskDataSample],
    ) -> dict[str, Tensor]:
        """L_tae, L_tke and L_tc, with their factors.

        Args:
            features: What :meth:`forward` gave.
            inputs: The normalised images, ``N x 3 x H x W``.
            data_samples: Their samples, for the padding.

        Returns:
            ``tae.loss``, ``tke.loss`` and ``tc.loss``.
        """
        assert features.extras is not None
        image = self.reconstruction(features.extras['shared'])
        height, width = inputs.shape[-2:]
        image = image[..., :height, :width]
        if image.shape[-2:] != inputs.shape[-2:]:
            image = F.interpolate(image, (height, width), mode='bilinear')
        # L_tae = smooth-L1(I_r, I), over the image and not its padding.
        mask = image_mask(inputs, data_samples).expand_as(inputs)
        error = F.smooth_l1_loss(image.float(), inputs, reduction='none')
        error = torch.where(mask, error, error.new_zeros(()))
        akg = self.akg_loss(
            features.extras['logits'], features.extras['means']
        )
        return {
            'tae.loss': self.lambda_tae * error.sum() / mask.sum(),
            'tke.loss': self.lambda_akg * akg['tke'],
            'tc.loss': self.lambda_akg * akg['tc'],
        }

    def statistics(self) -> dict:
        """What the log says of the method since it last asked.

        Returns:
            ``codebook``: see :meth:`VectorQuantizer.usage`; ``affinity``: the
            mean affinity of each task to each prototype, ``T x S``.
        """
        mean = self.affinity_sum / self.affinity_count.clamp(min=1)
        result = dict(
            codebook=self.quantizer.usage(), affinity=mean.cpu().numpy()
        )
        self.affinity_sum.zero_()
        self.affinity_count.zero_()
        return result
