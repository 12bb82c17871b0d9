"""Predictions that a test saves, and pictures that it draws."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from torch import Tensor

from mmprotomtl.registry import HOOKS
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.tasks import Task
from mmprotomtl.utils.dist import unwrap
from mmprotomtl.utils.files import output_path


def save_predictions(
    tasks: Mapping[str, Task],
    maps: Mapping[str, np.ndarray],
    out_dir: str | Path,
    sample_id: str,
) -> list[str]:
    """Save the predictions of an image: ``out_dir/<task>/<sample id>`` with
    the ending of the format that the task chooses.

    Args:
        tasks: Those of the model.
        maps: Task -> prediction ``P x H x W``.
        out_dir: The folder.
        sample_id: Name of the image.

    Returns:
        The files.

    Raises:
        ValueError: See :func:`~mmprotomtl.utils.files.output_path`.
        OSError: A file cannot be written.
    """
    files = []
    for name, value in maps.items():
        stem = output_path(output_path(out_dir, name), sample_id)
        stem.parent.mkdir(parents=True, exist_ok=True)
        files.append(tasks[name].save(value, str(stem)))
    return files


class _SampleHook(Hook, ABC):
    """Does something with each predicted sample of a test."""

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[MultiTaskDataSample] | None = None,
    ) -> None:
        """Go through the batch."""
        assert data_batch is not None and outputs is not None
        for image, sample in zip(data_batch['inputs'], outputs, strict=True):
            self.handle(runner, image, sample)

    @abstractmethod
    def handle(
        self, runner: Runner, image: Tensor, sample: MultiTaskDataSample
    ) -> None:
        """Handle one image (BGR tensor ``3 x H x W``) and its sample."""


@HOOKS.register_module()
class SavePredictionsHook(_SampleHook):
    """Saves predictions: ``out_dir/<task>/<sample id>.<ending>``, each in the
    format that its task chooses.

    Args:
        out_dir: The folder.
    """

    def __init__(self, out_dir: str) -> None:
        self.out_dir = out_dir

    def handle(
        self, runner: Runner, image: Tensor, sample: MultiTaskDataSample
    ) -> None:
        """Save the maps of one sample."""
        maps = {n: pred.cpu().numpy() for n, pred in sample.pred_maps.items()}
        save_predictions(
            unwrap(runner.model).tasks,
            maps,
            self.out_dir,
            sample.metainfo['sample_id'],
        )


@HOOKS.register_module()
class MultiTaskVisualizationHook(_SampleHook):
    """Draws predictions beside labels: in a test into files, ``out_dir/<sample
    id>.png``, and in validations for the visualizer's backends.

    Args:
        out_dir: The folder of a test's pictures; None: a test draws nothing.
        limit: Draw no more than this many images of a test.
        val_interval: Epochs (iterations, in a run that is counted in them)
            between two validations that are drawn; None: none is. A
            validation is drawn where at least one multiple of it has passed
            since the last validation, so it need not divide the interval of
            validations.
        val_images: How many images of a validation are drawn: the first ones,
            the same each time.

    Raises:
        ValueError: A number is below 1.
    """

    def __init__(
        self,
        out_dir: str | None = None,
        limit: int | None = None,
        val_interval: int | None = None,
        val_images: int = 4,
    ) -> None:
        for key, value in (
            ('val_interval', val_interval), ('val_images', val_images),
        ):  # fmt: skip
            if value is not None and value < 1:
                raise ValueError(
                    f'default_hooks.visualization.{key}={value!r} is not '
                    'allowed: choose 1 or more'
                    + (', or None' if key == 'val_interval' else '')
                )
        self.out_dir = out_dir
        self.limit = limit
        self.val_interval = val_interval
        self.val_images = val_images
        self._drawn = 0
        self._passed = 0

    def before_train(self, runner: Runner) -> None:
        """A resumed run has drawn what was due before."""
        if self.val_interval is not None:
            self._passed = training_step(runner) // self.val_interval

    def before_val_epoch(self, runner: Runner) -> None:
        """Is this validation to be drawn?"""
        self._left = 0
        if self.val_interval is None:
            return
        passed = training_step(runner) // self.val_interval
        # A validation outside of a training is the only one.
        if passed > self._passed or not _trains(runner):
            self._left = self.val_images
        self._passed = passed

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[MultiTaskDataSample] | None = None,
    ) -> None:
        """Give the first images to the backends."""
        assert data_batch is not None and outputs is not None
        for image, sample in zip(data_batch['inputs'], outputs, strict=True):
            if self._left == 0:
                return
            self._left -= 1
            runner.visualizer.add_datasample(
                f'val/{sample.metainfo["sample_id"]}',
                _rgb(image),
                sample,
                step=training_step(runner),
            )

    def handle(
        self, runner: Runner, image: Tensor, sample: MultiTaskDataSample
    ) -> None:
        """Draw one sample of a test."""
        if self.out_dir is None or self._drawn == self.limit:
            return
        self._drawn += 1
        name = sample.metainfo['sample_id']
        runner.visualizer.add_datasample(
            name,
            _rgb(image),
            sample,
            out_file=str(output_path(self.out_dir, name, '.png')),
        )


def _rgb(image: Tensor) -> np.ndarray:
    """A BGR tensor ``3 x H x W`` as an RGB array ``H x W x 3``."""
    return image.cpu().numpy().transpose(1, 2, 0)[..., ::-1]


def _trains(runner: Runner) -> bool:
    """Whether the validation belongs to a training."""
    return isinstance(runner._train_loop, BaseLoop)


def training_step(runner: Runner) -> int:
    """What mmengine's log counts scores of a validation by: epochs, or
    iterations in a run that is counted in them; 0 without a training.
    """
    if not _trains(runner):
        return 0
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    return runner.epoch if by_epoch else runner.iter
