"""Predict all tasks of images and videos."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.infer import BaseInferencer
from mmengine.infer.infer import track
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer
from torch import nn

from mmprotomtl.datasets.transforms import check_pipeline
from mmprotomtl.datasets.unwrap import leaf_datasets
from mmprotomtl.engine import (
    checkpoint_meta,
    save_predictions,
    share_tasks,
    take_facts,
)
from mmprotomtl.loading import trust
from mmprotomtl.loading.stored_config import read_stored_config
from mmprotomtl.models.checkpoint_fit import (
    check_meaning,
    check_weights,
    weights_of,
)
from mmprotomtl.registry import INFERENCERS, TRANSFORMS
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.files import output_path
from mmprotomtl.utils.names import published_weights
from mmprotomtl.utils.old_configs import read_config
from mmprotomtl.visualization import write_picture

from .inputs import Inputs, Photo, is_endless
from .preparation import image_pipeline, input_shape, stored_config, with_fit
from .result import MultiTaskResult, TrainingData, infos, training_data
from .settings import Settings

#: Most bytes of results that one call returns; more have to be streamed.
MAX_HELD = 4 << 30


@INFERENCERS.register_module()
class MultiTaskInferencer(BaseInferencer):
    """Predicts the tasks of images, and draws them.

    Example::

        infer = MultiTaskInferencer(weights='epoch_200.pth')
        result = infer('photo.jpg', out_dir='out')['predictions'][0]
        result.depth                 # 1 x H x W; result['depth'] is the same
        result.info['depth'].unit    # 'metres'
        for result in infer.stream('video.mp4', pred_out_dir='maps'):
            ...                      # one frame at a time

    Given can be: a file (photographs, turned upright as their EXIF orientation
    says, or ``.npy``, RGB), a URL, a folder or a glob pattern (files that are
    no images are skipped and counted), an array ``H x W x 3`` or a tensor
    ``3 x H x W`` (uint8, or floating point in 0 .. 1; a fourth dimension in
    front is several images), a PIL image, a video, the index of a webcam, or
    a list or generator of these.

    Images are reduced to the size that the config gives the network
    (:class:`~mmprotomtl.apis.preparation.FitInput`); predictions have the size
    of the photo, or ``max_side`` pixels on the longer side if that is less.

    Args:
        model: Config file, config, or name of a model in a metafile; None:
            the config that is stored in ``weights``.
        weights: Checkpoint. None: the published weights of a name, or a
            random network for a config, with a warning.
        device: Where to run; None: a GPU if there is one.
        show_progress: Whether to show a progress bar.
        allow_partial: Whether ``weights`` of which only a part fits the model
            are loaded, with a warning; the rest of the model stays random.
        trust_checkpoint: Whether ``weights`` may run code when they are
            loaded, and the config in them. Without it, files with anything
            but tensors and plain values are refused.
        max_side: Longer side in pixels of the largest prediction and picture.
        input_size: Height and width that images are reduced to for the
            network, in place of those that the config says; where its
            pipeline resizes or pads, set them there.

    Raises:
        ValueError: The weights are not those of the model, or were trained
            for other classes or another unit; lists what does not fit. Or
            ``model`` is a name for which no weights are published.
        DataFileError: The weights, or the config in them, hold what could run
            code.
    """

    preprocess_kwargs: ClassVar[set] = {'channel_order'}
    forward_kwargs: ClassVar[set] = set()
    visualize_kwargs: ClassVar[set] = {
        field.name for field in fields(Settings)
    } - {'channel_order', 'pred_out_dir'}
    postprocess_kwargs: ClassVar[set] = {'pred_out_dir'}

    def __init__(
        self,
        model: str | Path | Config | ConfigDict | dict | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
        show_progress: bool = False,
        allow_partial: bool = False,
        trust_checkpoint: bool = False,
        max_side: int = 1280,
        input_size: tuple[int, int] | None = None,
    ) -> None:
        self.allow_partial = allow_partial
        self.trust_checkpoint = trust_checkpoint
        if max_side < 1:
            raise ValueError(
                f'max_side={max_side!r} is not allowed: give 1 pixel or more'
            )
        self.max_side = max_side
        self.input_size = input_size
        self.trained_on = TrainingData()
        if isinstance(model, (str, Path)):
            if weights is None:
                weights = published_weights(model)
            model = read_config(model)
        weights = None if weights is None else str(weights)
        if trust_checkpoint and weights is not None:
            trust(weights)
        # mmengine builds from its root registries, by the default scope.
        init_default_scope('mmprotomtl')
        super().__init__(model, weights, device, 'mmprotomtl', show_progress)

    def _init_model(
        self, cfg: ConfigDict, weights: str | None, device: str = 'cpu'
    ) -> nn.Module:
        """The model, from the config of a run or of a checkpoint."""
        if not cfg:
            assert weights is not None
            cfg.update(stored_config(weights, self.trust_checkpoint)._cfg_dict)
        share_tasks(cfg)
        if weights is not None:
            meta = checkpoint_meta(weights)
            take_facts(cfg, meta)
            self.trained_on = _trained_on(meta, weights)
        self._weights = str(weights)
        return super()._init_model(cfg, weights, device)

    def _load_weights_to_model(
        self, model: nn.Module, checkpoint: dict | None, cfg: ConfigDict | None
    ) -> None:
        """Load the weights that a test would use, if they fit."""
        if checkpoint is None:
            super()._load_weights_to_model(model, checkpoint, cfg)
            return
        check_weights(
            model,
            weights_of(checkpoint),
            self._weights,
            '\nGive the config that they were trained with, or none where the '
            'checkpoint holds it. To load what fits all the same: '
            'allow_partial=True.',
            self.allow_partial,
        )
        check_meaning(
            getattr(model, 'tasks', {}),
            checkpoint.get('meta') or {},
            self._weights,
            self.allow_partial,
        )

    def _init_pipeline(self, cfg: ConfigDict) -> Callable:
        """The test pipeline without what reads labels."""
        steps = image_pipeline(cfg)
        built = {
            id(step): TRANSFORMS.build(step)
            if isinstance(step, dict)
            else step
            for step in with_fit(cfg, steps, self.input_size)
        }
        check_pipeline([built[id(step)] for step in steps])
        pipeline = Compose(list(built.values()))

        def run(photo: Photo) -> dict:
            return pipeline(
                dict(
                    image=photo,
                    sample_id=photo.name,
                    labels={},
                    tasks=self.model.tasks,
                )
            )

        return run

    def _init_visualizer(self, cfg: ConfigDict) -> Visualizer:
        if cfg.get('visualizer') is None:
            cfg.visualizer = ConfigDict(type='MultiTaskLocalVisualizer')
        # Pictures are returned or saved here, by no backend.
        cfg.visualizer.pop('vis_backends', None)
        visualizer = super()._init_visualizer(cfg)
        visualizer.take_tasks(self.model.tasks)
        return visualizer

    def __call__(
        self,
        inputs: Any,
        return_datasamples: bool = False,
        batch_size: int = 1,
        **kwargs: Any,
    ) -> dict:
        """Predict images, and return all results at once.

        Args:
            inputs: See the class.
            return_datasamples: Whether ``predictions`` are data samples.
            batch_size: Images that the network gets at once.
            **kwargs: See :meth:`stream`.

        Returns:
            ``predictions``: a :class:`MultiTaskResult` of each image, or its
            data sample; ``visualization``: the pictures, RGB; empty with
            ``return_vis=False``; ``skipped``: path and reason of each file of
            a folder that is no image.

        Raises:
            ValueError: ``inputs`` never ends, or its results would take more
                than 4 GiB (:data:`MAX_HELD`); take :meth:`stream` for both.
        """
        if is_endless(inputs):
            raise ValueError(
                f'{inputs!r} has no end, so that its results cannot be '
                'returned at once: for result in infer.stream(...)'
            )
        source, run = self._start(inputs, batch_size, kwargs)
        if self.show_progress:
            run = track(run, description='Inference')
        predictions: list[Any] = []
        pictures, held = [], 0
        for sample, result in run:
            held += result.nbytes
            expected = max(source.frames * result.nbytes, held)
            if expected > MAX_HELD:
                raise ValueError(
                    f'the results of {result.path} take {expected / 1e9:.1f} '
                    f'GB, more than {MAX_HELD / 1e9:.1f} are not held in '
                    'memory: take them one by one, for result in '
                    'infer.stream(...), or set a smaller max_side'
                )
            predictions.append(sample if return_datasamples else result)
            if result.picture is not None:
                pictures.append(result.picture)
        return dict(
            predictions=predictions,
            visualization=pictures if kwargs.get('return_vis', True) else [],
            skipped=list(source.skipped),
        )

    def stream(
        self, inputs: Any, batch_size: int = 1, **kwargs: Any
    ) -> Iterator[MultiTaskResult]:
        """Predict images, videos or a webcam, one at a time: memory does not
        grow with their number.

        Args:
            inputs: See the class.
            batch_size: Images that the network gets at once.
            **kwargs: ``channel_order``: ``bgr`` (default, as OpenCV and mmseg
                have it) or ``rgb``, that of arrays and tensors.
                ``return_vis``: whether ``result.picture`` is drawn (default
                True). ``show``, ``wait_time``: whether to open windows, and
                seconds that they stay, 0: until a key is pressed. ``out_dir``:
                folder of the pictures; ``img_out_dir``: a folder in it for
                them; ``pred_out_dir``: a folder in it for the predictions,
                ``<task>/<name>.png`` or ``.npy`` as ``tools/test.py --out``
                writes them; each of the two also works without ``out_dir``.
                ``opacity``: share of the prediction in its picture, 0 .. 1;
                the rest is the photo (default: the visualizer's ``overlay``).

        Returns:
            An iterator of results. Files are written as it goes.

        Raises:
            ValueError: An argument is unknown or not allowed, or ``show`` has
                no display; raised at once.
        """
        _, run = self._start(inputs, batch_size, kwargs)
        return (result for _, result in run)

    def _start(
        self, inputs: Any, batch_size: int, kwargs: dict
    ) -> tuple[Inputs, Iterator[tuple[MultiTaskDataSample, MultiTaskResult]]]:
        """Check the arguments of a call, and prepare it."""
        self._dispatch_kwargs(**kwargs)  # Refuses what is unknown.
        settings = Settings(**kwargs)
        settings.check()
        if batch_size < 1:
            raise ValueError(
                f'batch_size={batch_size!r} is not allowed: give 1 or more'
            )
        source = Inputs(inputs, settings.channel_order, self.max_side)
        return source, self._run(source, batch_size, settings)

    def _run(
        self, source: Inputs, batch_size: int, settings: Settings
    ) -> Iterator[tuple[MultiTaskDataSample, MultiTaskResult]]:
        number = 0
        for photos in self._get_chunk_data(source, batch_size):
            batch = self.collate_fn([self.pipeline(p) for p in photos])
            for photo, sample in zip(photos, self.forward(batch), strict=True):
                result = self._result(photo, sample)
                if settings.draws:
                    result.picture = self._draw(photo, result, settings)
                self._write(result, f'{number}_{photo.name}', settings)
                number += 1
                yield sample, result
        if source.skipped:
            print_log(
                f'{len(source.skipped)} files were skipped, which are no '
                f'images; the first: {": ".join(source.skipped[0])}',
                logger='current',
            )

    def _result(
        self, photo: Photo, sample: MultiTaskDataSample
    ) -> MultiTaskResult:
        """The predictions of a sample, in arrays."""
        maps = {
            name: sample.pred_maps.get(name).cpu().numpy()
            for name in self.model.tasks
        }
        return MultiTaskResult(
            maps,
            infos(self.model.tasks),
            photo.shape,
            photo.path,
            photo.name,
            self.trained_on,
        )

    def _draw(
        self, photo: Photo, maps: MultiTaskResult, settings: Settings
    ) -> np.ndarray:
        """The photo and its predictions side by side."""
        return self.visualizer.compose(
            photo.pixels, [('prediction', maps)], opacity=settings.opacity
        )

    def _write(
        self, result: MultiTaskResult, name: str, settings: Settings
    ) -> None:
        """Show and write what was asked for."""
        if settings.show:
            self.visualizer.show(result.picture, name, settings.wait_time)
        if settings.pictures is not None and result.picture is not None:
            path = output_path(settings.pictures, name, '.png')
            write_picture(path, result.picture)
            result.files.append(str(path))
        if settings.maps is not None:
            result.files += save_predictions(
                self.model.tasks, result, settings.maps, name
            )

    def visualize(
        self,
        inputs: Iterable[Any],
        preds: Sequence[MultiTaskDataSample],
        **kwargs: Any,
    ) -> list[np.ndarray]:
        """Draw predictions that were made before.

        Args:
            inputs: The images, as for a call.
            preds: Their data samples.
            **kwargs: See :meth:`stream`.

        Returns:
            The pictures, RGB.
        """
        settings = Settings(**kwargs)
        settings.check()
        photos = Inputs(inputs, settings.channel_order, self.max_side)
        pictures = []
        for number, (photo, sample) in enumerate(
            zip(photos, preds, strict=True)
        ):
            result = self._result(photo, sample)
            result.picture = self._draw(photo, result, settings)
            self._write(result, f'{number}_{photo.name}', settings)
            pictures.append(result.picture)
        return pictures

    def postprocess(
        self,
        preds: Sequence[MultiTaskResult],
        visualization: list[np.ndarray],
        return_datasample: bool = False,
        **kwargs: Any,
    ) -> dict:
        """Pack results, in mmengine's form."""
        del return_datasample, kwargs
        return dict(predictions=list(preds), visualization=visualization)


def _trained_on(meta: dict, weights: str) -> TrainingData:
    """What the config in a checkpoint says of the training data."""
    try:
        cfg = read_stored_config(meta['cfg'], weights)
        share_tasks(cfg)
        loader = cfg.get('train_dataloader') or {}
        parts = leaf_datasets(loader.get('dataset'), 'train_dataloader')
        shape = input_shape(cfg, image_pipeline(cfg))
    except (KeyError, TypeError, ValueError, DataFileError):
        # It holds none, or one of another version.
        return TrainingData()
    return training_data([part for _, part in parts], shape)
