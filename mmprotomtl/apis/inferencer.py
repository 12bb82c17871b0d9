"""Predict all tasks of single images."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.infer import BaseInferencer
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer
from torch import nn

from mmprotomtl.datasets.transforms import (
    LoadMultiTaskAnnotations,
    PartialAnnotation,
)
from mmprotomtl.datasets.transforms.allowed import check_pipeline
from mmprotomtl.datasets.transforms.loading import load_image
from mmprotomtl.datasets.transforms.partial_annotation import is_step
from mmprotomtl.datasets.unwrap import leaf_datasets
from mmprotomtl.engine import checkpoint_meta, share_tasks, take_facts
from mmprotomtl.loading.checkpoint_files import trust
from mmprotomtl.loading.stored_config import read_stored_config
from mmprotomtl.models.checkpoint_fit import (
    check_meaning,
    check_weights,
    weights_of,
)
from mmprotomtl.readers import image_file
from mmprotomtl.registry import INFERENCERS, TRANSFORMS
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.utils.files import output_path
from mmprotomtl.visualization import write_picture


class _Picture(NamedTuple):
    """An image in memory, in the place of a file."""

    pixels: np.ndarray
    path: str = 'array'

    def load(self) -> np.ndarray:
        """The image."""
        return self.pixels


def _file(image: str | Path | np.ndarray) -> Any:
    """What the pipeline reads an image from."""
    return (
        _Picture(image) if isinstance(image, np.ndarray) else image_file(image)
    )


def stored_config(checkpoint: str, trust_checkpoint: bool = False) -> Config:
    """The config of the run that wrote a checkpoint.

    Args:
        checkpoint: The file.
        trust_checkpoint: Whether to execute the text as Python, as mmengine
            does it; else only plain values are read.

    Raises:
        ValueError: The checkpoint holds none, or one that would have to be
            executed, see
            :func:`mmprotomtl.loading.stored_config.read_stored_config`.
    """
    text = checkpoint_meta(checkpoint).get('cfg')
    if text is None:
        raise ValueError(
            f'{checkpoint} holds no config: give the config file as `model`'
        )
    if not trust_checkpoint:
        return read_stored_config(text, str(checkpoint))
    return Config.fromstring(text, file_format='.py')


def image_pipeline(cfg: Mapping) -> list[dict]:
    """The steps by which a config makes the network's input of an image.

    They are those of the test data set, or of the validation data set where
    there is no test; without the steps that read or hide labels.

    Args:
        cfg: The config of a run.

    Raises:
        ValueError: There is no such data set, or it consists of several that
            treat images differently.
    """
    for loader in ('test_dataloader', 'val_dataloader'):
        dataset = (cfg.get(loader) or {}).get('dataset')
        if dataset:
            break
    else:
        raise ValueError(
            'the config has neither test_dataloader nor val_dataloader: the '
            'pipeline of its data set says how an image is prepared for the '
            'network; add one of them'
        )
    found = {
        place: [
            step
            for step in part.get('pipeline') or []
            if not is_step(step, LoadMultiTaskAnnotations, PartialAnnotation)
        ]
        for place, part in leaf_datasets(dataset, f'{loader}.dataset')
    }
    (first, steps), *others = found.items()
    for place, other in others:
        if other != steps:
            raise ValueError(
                f'{first} and {place} treat images differently, so that it is '
                f'not clear how to prepare one: {steps} and {other}. Give all '
                'parts the same steps, or set test_dataloader.dataset to one '
                'of the parts'
            )
    return steps


@INFERENCERS.register_module()
class MultiTaskInferencer(BaseInferencer):
    """Predicts the tasks of images, and draws them.

    Example::

        infer = MultiTaskInferencer(config, checkpoint)
        maps = infer('photo.jpg', out_dir='out')['predictions'][0]
        maps['depth']      # 1 x H x W, metres
        maps['semseg']     # 1 x H x W, classes

    Images are files (photographs, which are turned upright as their EXIF
    orientation says, or ``.npy``), folders of them, or RGB arrays ``H x W x
    3`` (uint8, or floating point in 0 .. 1).

    Args:
        model: Config file, config, or name of a model in a metafile; None:
            the config that is stored in ``weights``.
        weights: Checkpoint.
        device: Where to run; None: a GPU if there is one.
        show_progress: Whether to show a progress bar.
        allow_partial: Whether ``weights`` of which only a part fits the model
            are loaded, with a warning; the rest of the model stays random.
        trust_checkpoint: Whether ``weights`` may run code when they are
            loaded, and the config in them. Without it, files with anything
            but tensors and plain values are refused.

    Raises:
        ValueError: The weights are not those of the model, or were trained
            for other classes or another unit; lists what does not fit.
        DataFileError: The weights, or the config in them, hold what could run
            code.
    """

    preprocess_kwargs: ClassVar[set] = set()
    forward_kwargs: ClassVar[set] = set()
    visualize_kwargs: ClassVar[set] = {'show', 'wait_time', 'out_dir'}
    postprocess_kwargs: ClassVar[set] = set()

    def __init__(
        self,
        model: str | Config | ConfigDict | dict | None = None,
        weights: str | None = None,
        device: str | None = None,
        show_progress: bool = False,
        allow_partial: bool = False,
        trust_checkpoint: bool = False,
    ) -> None:
        self.allow_partial = allow_partial
        self.trust_checkpoint = trust_checkpoint
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
            take_facts(cfg, checkpoint_meta(weights))
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
        steps = [TRANSFORMS.build(step) for step in image_pipeline(cfg)]
        check_pipeline(steps)
        pipeline = Compose(steps)

        def run(image: str | Path | np.ndarray) -> dict:
            file = _file(image)
            return pipeline(
                dict(
                    image=file,
                    sample_id=Path(file.path).stem,
                    labels={},
                    tasks=self.model.tasks,
                )
            )

        return run

    def _init_visualizer(self, cfg: ConfigDict) -> Visualizer:
        # Pictures are returned or saved here, by no backend.
        cfg.visualizer.pop('vis_backends', None)
        visualizer = super()._init_visualizer(cfg)
        visualizer.take_tasks(self.model.tasks)
        return visualizer

    def visualize(
        self,
        inputs: list,
        preds: Sequence[MultiTaskDataSample],
        show: bool = False,
        wait_time: float = 0,
        out_dir: str = '',
    ) -> list[np.ndarray]:
        """Draw the predictions.

        Args:
            inputs: Files, or RGB images ``H x W x 3`` (uint8, or floating
                point in 0 .. 1). Photographs become upright, as their EXIF
                orientation says; so are the predictions.
            preds: Predictions.
            show: Whether to open windows.
            wait_time: Seconds that they stay, 0: until a key is pressed.
            out_dir: Folder to save the pictures in; '': they are not saved.

        Returns:
            The pictures, RGB.
        """
        pictures = []
        for number, (image, sample) in enumerate(
            zip(inputs, preds, strict=True)
        ):
            picture = self.visualizer.compose(
                load_image(_file(image)), [('prediction', sample.pred_maps)]
            )
            name = f'{number}_{sample.metainfo["sample_id"]}'
            if show:
                self.visualizer.show(picture, name, wait_time)
            if out_dir:
                write_picture(output_path(out_dir, name, '.png'), picture)
            pictures.append(picture)
        return pictures

    def postprocess(
        self,
        preds: Sequence[MultiTaskDataSample],
        visualization: list[np.ndarray],
        return_datasample: bool = False,
    ) -> dict:
        """Pack the results.

        Returns:
            ``predictions``: for each image a dict, task -> array ``P x H x
            W``, or the data samples if asked for; ``visualization``.
        """
        predictions: list = list(preds)
        if not return_datasample:
            predictions = [
                {
                    name: sample.pred_maps.get(name).cpu().numpy()
                    for name in self.model.tasks
                }
                for sample in preds
            ]
        return dict(predictions=predictions, visualization=visualization)
