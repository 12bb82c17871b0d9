"""Predictions that a test saves, and pictures that it draws."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
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
    """Draws predictions beside labels: ``out_dir/<sample id>.png``.

    Args:
        out_dir: The folder; None: nothing is drawn.
        limit: Draw no more than this many images.
    """

    def __init__(
        self, out_dir: str | None = None, limit: int | None = None
    ) -> None:
        self.out_dir = out_dir
        self.limit = limit
        self._drawn = 0

    def handle(
        self, runner: Runner, image: Tensor, sample: MultiTaskDataSample
    ) -> None:
        """Draw one sample."""
        if self.out_dir is None or self._drawn == self.limit:
            return
        self._drawn += 1
        name = sample.metainfo['sample_id']
        runner.visualizer.add_datasample(
            name,
            image.cpu().numpy().transpose(1, 2, 0)[..., ::-1],
            sample,
            out_file=str(output_path(self.out_dir, name, '.png')),
        )
