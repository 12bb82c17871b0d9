"""The multi-task network: one backbone, many dense-prediction tasks."""

from collections.abc import Mapping

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from torch import Tensor, nn
from torch.nn import functional as F

from mmprotomtl.models.consistency import FeatureConsistency
from mmprotomtl.models.feature_cache import FeatureCache, as_maps
from mmprotomtl.models.necks import TaskFeatures
from mmprotomtl.models.pretrained import check_pretrained
from mmprotomtl.registry import MODELS
from mmprotomtl.structures import MultiTaskDataSample, content_box
from mmprotomtl.tasks import build_tasks

from .inference import augmented, check_test_cfg, replace_memory, slide


@MODELS.register_module()
class MultiTaskSegmentor(BaseSegmentor):
    """Multi-task network: backbone -> neck -> head, for any tasks.

    Args:
        backbone: Config of any registered backbone that outputs one or more
            feature maps, for example ``mmpretrain.ResNet``. The neck's
            ``in_channels`` and ``in_strides`` are measured by running it.
        neck: Config of ``PrototypeNeck`` (the method) or ``MultiTaskNeck``.
        head: Config of ``RetrievalTransformerHead`` (the method) or
            ``MultiTaskHead``.
        tasks: Name -> arguments of the task. Leave it out in the config of a
            run: :func:`mmprotomtl.engine.load_config` fills it in.
        data_preprocessor: Config of ``MultiTaskDataPreprocessor``.
        train_cfg: Not used; accepted because mmseg's configs have it.
        test_cfg: Settings of inference. ``mode``: ``whole``, or ``slide`` with
            ``crop_size`` and ``stride`` (height, width in pixels), which
            averages logits over windows. ``size``: predict and score at the
            images' ``original`` size, or at the ``network``'s input size, to
            which labels are then resized. ``tta=dict(scales=(.75, 1, 1.25),
            flip=True)``: average logits over resized and mirrored images.
            ``memory``: what the transformer retrieves, to measure how much it
            uses it: its ``own`` memory, ``zeros``, or that of the ``other``
            image that comes next in the batch.
        consistency: Config of ``FeatureConsistency``, a loss on the features
            of unlabelled tasks; None, or a ``weight`` of 0: there is none.
        channels_last: Whether to use torch's memory format ``channels_last``,
            which is faster for convolutions on GPUs. The same weights give the
            same results. But a seed gives other initial weights than without
            it, because they are drawn in memory order.
        freeze_backbone: Whether the backbone keeps its weights, also the
            statistics of batch norm, and only neck and head train. It then
            runs as in a test, without dropout.
        init_cfg: See mmengine.

    Attributes:
        feature_cache: Features of a frozen backbone that were computed
            before (``FeatureCacheHook`` sets it); None: they are computed.

    Raises:
        ValueError: ``tasks`` is missing, or a setting is not allowed.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        tasks: Mapping[str, dict] | None = None,
        data_preprocessor: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        consistency: dict | None = None,
        channels_last: bool = False,
        freeze_backbone: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        if tasks is None:
            raise ValueError(
                'the model has no tasks: a config defines them once, at its '
                'top level. Load it by mmprotomtl.engine.load_config(file), '
                'or use the tools of this package, which pass them to the '
                'model'
            )
        built = build_tasks(tasks)
        preprocessor = dict(data_preprocessor or {})
        preprocessor.setdefault('type', 'MultiTaskDataPreprocessor')
        preprocessor.setdefault('tasks', built)
        super().__init__(MODELS.build(preprocessor), init_cfg)
        self.tasks = built
        self.train_cfg = train_cfg
        self.test_cfg = check_test_cfg(test_cfg)
        self.backbone = MODELS.build(backbone)
        self.freeze_backbone = freeze_backbone
        if freeze_backbone:
            self.backbone.requires_grad_(False)
        self.feature_cache: FeatureCache | None = None
        channels, strides = measure_backbone(self.backbone)
        neck = dict(neck)
        for key, found in (('in_channels', channels), ('in_strides', strides)):
            given = neck.setdefault(key, found)
            if tuple(given) != found:
                raise ValueError(
                    f'model.neck.{key}={given!r} does not match the backbone, '
                    f'which has {found!r}: correct it, or leave it out'
                )
        self.neck = MODELS.build(neck, default_args=dict(tasks=built))
        self.head = MODELS.build(
            head,
            default_args=dict(
                tasks=built,
                in_channels=self.neck.out_channels,
                memory_channels=self.neck.memory_channels,
            ),
        )
        memory = dict(type='PrototypeMemory', uniform=False)
        given = {**memory, **(neck.get('memory') or {})}
        if given != memory and not self.head.reads_memory:
            raise ValueError(
                f'model.neck.memory={neck["memory"]!r} is not allowed: the '
                'head reads no memory. It does with type='
                '"RetrievalTransformerHead" and num_blocks above 0'
            )
        self.consistency: FeatureConsistency | None = None
        if consistency and consistency.get('weight') != 0:
            self.consistency = MODELS.build(
                {'type': 'FeatureConsistency', **consistency},
                default_args=dict(neck=self.neck, head=self.head),
            )
        if self.test_cfg['memory'] != 'own' and not self.head.reads_memory:
            raise ValueError(
                f'model.test_cfg.memory={self.test_cfg["memory"]!r} is not '
                'allowed: the head reads no memory. It does with type='
                '"RetrievalTransformerHead" and num_blocks above 0'
            )
        self.memory_format = torch.contiguous_format
        if channels_last:
            self.memory_format = torch.channels_last
            # Must happen before DDP reads the layout for its buckets.
            self.to(memory_format=torch.channels_last)

    def init_weights(self) -> None:
        """Initialise all weights.

        Raises:
            ValueError: Pretrained weights of a part do not fit.
        """
        check_pretrained(self, 'model')
        for name in ('backbone', 'neck', 'head'):
            check_pretrained(getattr(self, name), f'model.{name}')
        super().init_weights()

    def train(self, mode: bool = True) -> 'MultiTaskSegmentor':
        """Set the mode of all parts but a frozen backbone, which always runs
        as in a test.
        """
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    def extract_feat(self, inputs: Tensor) -> TaskFeatures:
        """Compute the features of each task from images ``N x 3 x H x W``."""
        return self.neck(self.backbone_maps(inputs))

    def backbone_maps(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute the backbone's feature maps, ``N x C_i x h_i x w_i``."""
        inputs = inputs.contiguous(memory_format=self.memory_format)
        if self.feature_cache is None:
            return as_maps(self.backbone(inputs))
        return self.feature_cache(self.backbone, inputs)

    def encode_decode(
        self,
        inputs: Tensor,
        batch_data_samples: list[MultiTaskDataSample] | None = None,
    ) -> dict[str, Tensor]:
        """Compute task -> logits ``N x C x H x W`` at the size of inputs.

        Args:
            inputs: Normalised images, ``N x 3 x H x W``.
            batch_data_samples: Not used.
        """
        del batch_data_samples
        features = self.extract_feat(inputs)
        logits = self.head(replace_memory(features, self.test_cfg['memory']))
        size = inputs.shape[-2:]
        return {
            name: F.interpolate(logit.float(), size, mode='bilinear')
            for name, logit in zip(self.tasks, logits, strict=True)
        }

    def loss(
        self, inputs: Tensor, data_samples: list[MultiTaskDataSample]
    ) -> dict[str, Tensor]:
        """Compute all losses of head and neck, and of the consistency.

        The keys are the same at every step, whatever labels a batch has.

        Args:
            inputs: Normalised images, ``N x 3 x H x W``.
            data_samples: Samples of the images; ``gt_maps`` has only the tasks
                for which an image is labelled.

        Returns:
            Name -> scalar.
        """
        maps = self.backbone_maps(inputs)
        features = self.neck(maps)
        losses = self.head.loss(features, data_samples)
        losses.update(self.neck.loss(features, inputs, data_samples))
        if self.consistency is not None:
            losses.update(
                self.consistency(
                    self.neck, self.head, maps, features, data_samples
                )
            )
        return losses

    def losses_counted(self) -> dict[str, Tensor]:
        """Of how many images, or pairs, of this process the last values of
        some losses are made: name -> number. A loss of none is 0.
        """
        found: dict[str, Tensor] = {}
        for part in (self.head, self.neck, self.consistency):
            found |= getattr(part, 'counted', {})
        return found

    @torch.no_grad()
    def predict(
        self,
        inputs: Tensor,
        data_samples: list[MultiTaskDataSample] | None = None,
    ) -> list[MultiTaskDataSample]:
        """Predict all tasks with the settings of ``test_cfg``.

        Args:
            inputs: Normalised images, ``N x 3 x H x W``.
            data_samples: Samples of the images; None: new ones are made.

        Returns:
            The samples, each with ``pred_maps``: task -> ``P x H x W``.
        """
        if data_samples is None:
            data_samples = [MultiTaskDataSample() for _ in inputs]
        at_network_size = self.test_cfg['size'] == 'network'
        logits = self.inference(inputs, data_samples)
        for sample, logit in zip(data_samples, logits, strict=True):
            meta = dict(sample.metainfo)
            if at_network_size:
                size = content_box(meta, inputs.shape[-2:])[2:]
                meta['ori_shape'] = size
                self._resize_labels(sample, size)
            maps = {
                name: self.tasks[name].predict(to_original(value, meta))[0]
                for name, value in logit.items()
            }
            sample.pred_maps = PixelData(**maps)
            # A class is a number whatever the logits were.
            finite = {name: v.isfinite().all() for name, v in logit.items()}
            sample.set_field(finite, 'finite_logits', dtype=dict)
        return data_samples

    def inference(
        self, inputs: Tensor, data_samples: list[MultiTaskDataSample]
    ) -> list[dict[str, Tensor]]:
        """Compute logits with the inference mode of ``test_cfg``.

        Returns:
            For each image, task -> logits ``1 x C x H x W`` at the network's
            input size.
        """
        cfg = self.test_cfg

        def network(images: Tensor) -> dict[str, Tensor]:
            if cfg['mode'] == 'slide':
                return slide(
                    self.encode_decode, images, cfg['crop_size'], cfg['stride']
                )
            return self.encode_decode(images)

        if cfg['tta'] is None:
            logits = network(inputs)
            return [
                {name: value[i : i + 1] for name, value in logits.items()}
                for i in range(len(inputs))
            ]
        divisor = self.data_preprocessor.pad_size_divisor
        result = []
        for image, sample in zip(inputs, data_samples, strict=True):
            # Remove padding first: after mirroring it would be on the left.
            height, width = sample.metainfo.get('img_shape', image.shape[-2:])
            result.append(
                augmented(
                    network,
                    image[None, :, :height, :width],
                    self.tasks,
                    divisor=divisor,
                    **cfg['tta'],
                )
            )
        return result

    def _resize_labels(
        self, sample: MultiTaskDataSample, size: tuple[int, int]
    ) -> None:
        """Resize a sample's labels to the size of its predictions."""
        if 'gt_maps' not in sample:
            return
        maps = {}
        for name, label in sample.gt_maps.items():
            array = label.permute(1, 2, 0).cpu().numpy()
            array = array[..., 0] if array.shape[2] == 1 else array
            array = self.tasks[name].resize_label(array, size)
            array = (
                array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
            )
            maps[name] = torch.from_numpy(array.copy()).to(label)
        sample.gt_maps = PixelData(**maps)

    def _forward(
        self,
        inputs: Tensor,
        data_samples: list[MultiTaskDataSample] | None = None,
    ) -> tuple[Tensor, ...]:
        """Return logits, like :meth:`encode_decode`, in the order of tasks."""
        return tuple(self.encode_decode(inputs, data_samples).values())


def to_original(logit: Tensor, meta: dict) -> Tensor:
    """Remove the padding and resize to the size of the original image.

    Args:
        logit: ``1 x C x H x W``.
        meta: The sample's meta information.

    Returns:
        ``1 x C x H' x W'`` with (H', W') = ``ori_shape``.
    """
    top, left, height, width = content_box(meta, logit.shape[-2:])
    logit = logit[..., top : top + height, left : left + width]
    size = tuple(meta.get('ori_shape', logit.shape[-2:]))
    if tuple(logit.shape[-2:]) == size:
        return logit
    return F.interpolate(logit, size, mode='bilinear')


@torch.no_grad()
def measure_backbone(
    backbone: nn.Module, side: int = 64
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Measure channels and strides of a backbone's feature maps.

    The backbone is run on an image of zeros.

    Args:
        backbone: The backbone; its training mode is restored.
        side: Side of the square image in pixels.

    Returns:
        Channels and strides, one per feature map.

    Raises:
        ValueError: The output is not feature maps; the message says what to
            set.
    """
    training = backbone.training
    backbone.eval()
    maps = as_maps(backbone(torch.zeros(1, 3, side, side)))
    backbone.train(training)
    if not maps or any(m.ndim != 4 for m in maps):
        shapes = [tuple(m.shape) for m in maps]
        raise ValueError(
            f'model.backbone={type(backbone).__name__} gives {shapes}, not '
            'feature maps N x C x h x w: set its out_indices, or out_type='
            '"featmap" for a vision transformer'
        )
    channels = tuple(m.shape[1] for m in maps)
    strides = tuple(max(round(side / m.shape[-1]), 1) for m in maps)
    return channels, strides
