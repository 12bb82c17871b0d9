"""From the scales of a backbone to a feature map for each task."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.models.backbones.resnet import BasicBlock
from torch import Tensor, nn
from torch.nn import functional as F

from mmprotomtl.registry import MODELS
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.tasks import Task


class TaskFeatures(NamedTuple):
    """What a neck hands to a head.

    Attributes:
        features: f_t for each task, ``N x C x h x w``. They are not stacked:
            that would copy them all.
        retrieval: What refines them; None where nothing is retrieved.
        extras: What the neck's own losses need.
    """

    features: list[Tensor]
    retrieval: 'TokenRetrieval | None' = None
    extras: dict | None = None


class TokenRetrieval(NamedTuple):
    """What the transformer works on.

    Attributes:
        tokens: f_t at the token stride for each task, ``N x L x C``.
        grid: Height and width of the tokens, L = h' w'.
        memory: Gives what the tokens of some (image, task) pairs can read,
            ``P x L x d``, from the images asked for, for each task.
    """

    tokens: list[Tensor]
    grid: tuple[int, int]
    memory: Callable[[list[list[int]]], Tensor]


class ScaleFusion(BaseModule):
    """Brings all scales to one width and stride and adds them up.

    Args:
        in_channels: Of the backbone's feature maps.
        in_strides: Of the same.
        channels: Width of the result.
        stride: Of the result.
        norm_cfg: Normalisation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        channels: int,
        stride: int,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.in_strides = tuple(in_strides)
        self.stride = stride
        self.laterals = nn.ModuleList(
            ConvModule(width, channels, 1, norm_cfg=norm_cfg, act_cfg=None)
            for width in in_channels
        )
        self.smooth = ConvModule(
            channels, channels, 3, padding=1, norm_cfg=norm_cfg
        )

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Fuse ``N x C_i x h_i x w_i`` to ``N x C x h x w``."""
        nearest = min(
            range(len(feats)),
            key=lambda i: abs(self.in_strides[i] - self.stride),
        )
        zoom = self.in_strides[nearest] / self.stride
        size = [max(round(n * zoom), 1) for n in feats[nearest].shape[-2:]]
        scales = []
        for lateral, feat in zip(self.laterals, feats, strict=True):
            feat = lateral(feat)
            if list(feat.shape[-2:]) != size:
                feat = F.interpolate(feat, size, mode='bilinear')
            scales.append(feat)
        return self.smooth(F.relu(sum(scales[1:], scales[0])))


@MODELS.register_module()
class MultiTaskNeck(BaseModule):
    """The plain multi-task neck: fused scales, and a decoder for each task.

    Args:
        tasks: The tasks, by name.
        in_channels: Widths of the backbone's feature maps; the segmentor
            fills it in, as it does ``in_strides``.
        in_strides: Their strides.
        channels: Width of fused and task features.
        stride: Their stride, in pixels of the input.
        num_blocks: Basic residual blocks of a task's decoder.
        norm_cfg: Normalisation.
    """

    def __init__(
        self,
        tasks: dict[str, Task],
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        channels: int = 512,
        stride: int = 8,
        num_blocks: int = 2,
        norm_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = [
                dict(type='Kaiming', layer='Conv2d'),
                dict(
                    type='Constant', layer=['_BatchNorm', 'LayerNorm'], val=1
                ),
                dict(type='TruncNormal', layer='Linear', std=0.02),
            ]
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type='BN', requires_grad=True)
        self.tasks = tasks
        self.out_channels = channels
        self.stride = stride
        self.fusion = ScaleFusion(
            in_channels, in_strides, channels, stride, norm_cfg
        )
        self.decoders = nn.ModuleList(
            nn.Sequential(
                *(
                    BasicBlock(channels, channels, norm_cfg=norm_cfg)
                    for _ in range(num_blocks)
                )
            )
            for _ in tasks
        )

    @property
    def memory_channels(self) -> int | None:
        """Width of the memory that the head can read; None: there is none."""
        return None

    def forward(self, feats: Sequence[Tensor]) -> TaskFeatures:
        """From the backbone's feature maps to features of the tasks."""
        return TaskFeatures(self.decode(self.fusion(feats)))

    def decode(self, shared: Tensor) -> list[Tensor]:
        """f_t of each task from ``N x C x h x w``, of the same shape."""
        return [decoder(shared) for decoder in self.decoders]

    def loss(
        self,
        features: TaskFeatures,
        inputs: Tensor,
        data_samples: list[MultiTaskDataSample],
    ) -> dict[str, Tensor]:
        """Losses of the neck's own; here there are none."""
        del features, inputs, data_samples
        return {}
