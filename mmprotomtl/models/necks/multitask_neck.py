"""Neck that makes a feature map per task from multi-scale features."""

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
    """Output of a neck and input of a head.

    Attributes:
        features: Features f_t of each task, ``N x C x h x w``. They are a list
            because stacking would copy them.
        retrieval: Inputs of the retrieval transformer; None if the neck has no
            memory.
        extras: Tensors that the losses of the neck need.
    """

    features: list[Tensor]
    retrieval: 'TokenRetrieval | None' = None
    extras: dict | None = None


class TokenRetrieval(NamedTuple):
    """Inputs of the retrieval transformer.

    Attributes:
        tokens: Tokens of each task, f_t at the token stride, ``N x L x C``.
        grid: Height h' and width w' of the token map, L = h' w'.
        memory: Function that computes the memory f_ta of selected pairs,
            ``P x L x d``. Its argument has, for each task, the indices of the
            images to use.
    """

    tokens: list[Tensor]
    grid: tuple[int, int]
    memory: Callable[[list[list[int]]], Tensor]


class ScaleFusion(BaseModule):
    """Fuse multi-scale features by projection, resizing and summation.

    Args:
        in_channels: Channels of the backbone's feature maps.
        in_strides: Strides of the backbone's feature maps.
        channels: Channels of the result, C.
        stride: Stride of the result.
        norm_cfg: Config of the normalisation layers.
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
        """Fuse feature maps ``N x C_i x h_i x w_i`` to ``N x C x h x w``."""
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
    """Baseline neck: fused features, then one decoder per task.

    Args:
        tasks: Name -> task.
        in_channels: Channels of the backbone's feature maps; the segmentor
            fills it in.
        in_strides: Strides of the backbone's feature maps; the segmentor
            fills it in.
        channels: Channels of the fused and of the task features, C.
        stride: Stride of these features, in pixels of the input.
        num_blocks: Number of residual blocks of a task's decoder.
        norm_cfg: Config of the normalisation layers; None: BN.
        init_cfg: See mmengine.
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
        """Channels of the memory for the head; None: there is no memory."""
        return None

    def forward(self, feats: Sequence[Tensor]) -> TaskFeatures:
        """Compute the features of all tasks.

        Args:
            feats: Feature maps of the backbone, ``N x C_i x h_i x w_i``.
        """
        return TaskFeatures(self.decode(self.fusion(feats)))

    def decode(self, shared: Tensor) -> list[Tensor]:
        """Decode shared features to the features f_t of each task.

        Args:
            shared: ``N x C x h x w``.

        Returns:
            For each task, ``N x C x h x w``.
        """
        return [decoder(shared) for decoder in self.decoders]

    def loss(
        self,
        features: TaskFeatures,
        inputs: Tensor,
        data_samples: list[MultiTaskDataSample],
    ) -> dict[str, Tensor]:
        """Return the losses of the neck itself; this neck has none."""
        del features, inputs, data_samples
        return {}
