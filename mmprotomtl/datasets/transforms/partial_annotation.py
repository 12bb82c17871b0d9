"""Hide the labels that an image does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmcv.transforms import BaseTransform

from mmprotomtl.label_masks import (
    LabelMask,
    draw_label_mask,
    read_label_mask,
)
from mmprotomtl.registry import TRANSFORMS
from mmprotomtl.utils.errors import DataFileError

if TYPE_CHECKING:
    from mmprotomtl.datasets.multitask_dataset import MultiTaskDataset


@TRANSFORMS.register_module()
class PartialAnnotation(BaseTransform):
    """Keep the labels that a mask gives to the image, forget the others.

    Comes before anything that reads labels: a hidden label's file is no
    longer in ``results``, so nothing after it can read it. The data set binds
    it to its samples when it is initialised.

    Args:
        mask_file: A published mask, or a manifest of ours.
        protocol: How to draw a mask if there is no file: a key of
            :data:`~mmprotomtl.label_masks.PROTOCOLS`.
        seed: Seed of the drawing.
        tasks: Tasks over which it is drawn, where they are more than those
            that are trained: a single-task run that shall see the labels of
            the multi-task run names all of that run's tasks. None: the data
            set's.
        **options: Settings of the protocol: ``ratio=0.3``, ``budget=100``.

    Raises:
        ValueError: Both or neither of ``mask_file`` and ``protocol``, or
            options for a file.
    """

    def __init__(
        self,
        mask_file: str | None = None,
        protocol: str | None = None,
        seed: int = 0,
        tasks: Sequence[str] | None = None,
        **options,
    ) -> None:
        if (mask_file is None) == (protocol is None):
            raise ValueError(
                f'partial_labels: mask_file={mask_file!r} and '
                f'protocol={protocol!r} are given; give one of the two'
            )
        if mask_file is not None and options:
            raise ValueError(
                f'partial_labels: {options} is not allowed beside mask_file='
                f'{mask_file!r}, which says all of it'
            )
        self.mask_file = mask_file
        self.protocol = protocol
        self.seed = seed
        self.tasks = tasks
        self.options = options
        self.mask: LabelMask | None = None

    def bind(self, dataset: MultiTaskDataset, samples: Sequence[str]) -> None:
        """Read or draw the mask for a data set's samples.

        Raises:
            DataFileError: The file is damaged, or of another data set.
            ValueError: The settings of the protocol are wrong.
        """
        if self.protocol is None:
            assert self.mask_file is not None
            self.mask = read_label_mask(
                self.mask_file, samples, tuple(dataset.known_tasks())
            )
            self._check_labels(dataset, self.mask)
        else:
            # All labels are those that there are; whether one of body parts
            # shows a person takes a look at it, and makes no difference.
            whole = self.protocol == 'full'
            self.mask = draw_label_mask(
                self.protocol,
                samples,
                self.tasks or tuple(dataset.tasks),
                self.seed,
                dataset.has_label if whole else dataset.applicable,
                **self.options,
            )

    def _check_labels(
        self, dataset: MultiTaskDataset, mask: LabelMask
    ) -> None:
        missing = [
            f'{task} of {sample!r}'
            for sample, tasks in mask.labelled.items()
            for task in tasks
            if not dataset.has_label(sample, task)
        ]
        if missing:
            raise DataFileError(
                str(self.mask_file),
                f'a mask of another data set: {len(missing)} labels that it '
                f'names are not there, such as {", ".join(missing[:3])}',
            )

    def hide(self, info: dict) -> dict:
        """Take the hidden labels out of ``info['labels']``."""
        if self.mask is None:
            raise RuntimeError(
                'PartialAnnotation has no mask: it works in the pipeline of a '
                'data set of mmprotomtl, which binds it to its samples'
            )
        kept = self.mask.labelled[info['sample_id']]
        labels = {n: f for n, f in info['labels'].items() if n in kept}
        return {**info, 'labels': labels}

    def transform(self, results: dict) -> dict:
        """Update ``results['labels']``."""
        return self.hide(results)

    def __repr__(self) -> str:
        return (
            f'PartialAnnotation(mask_file={self.mask_file!r}, '
            f'protocol={self.protocol!r}, seed={self.seed})'
        )
