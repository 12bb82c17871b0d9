"""No checkpoint is chosen by labels that the label mask hides."""

import os
from collections.abc import Hashable, Iterator
from typing import Any

from mmprotomtl.datasets import MultiTaskDataset
from mmprotomtl.datasets.unwrap import leaf_datasets


def check_validation_labels(train: Any, val: Any, setting: str) -> int:
    """Refuse a choice by labels of the training split that are hidden there.

    A validation set that is a part of the training split (``holdout``) has
    all labels of its images unless it has a label mask of its own. With
    ``partial_labels='full'`` it says that this is meant. An image is known by
    its file, also through links.

    Args:
        train: The training set, or a wrapper of data sets.
        val: The validation set, or a wrapper of data sets.
        setting: What chooses by the validation, for the message.

    Returns:
        Number of hidden labels by which the choice is made because
        ``partial_labels='full'`` says so.

    Raises:
        ValueError: The validation set uses labels that the training set's
            mask hides, without the protocol ``full``.
    """
    hidden: set[tuple[Hashable, str]] = set()
    masks, seen = [], set()
    for _, part in leaf_datasets(train):
        if not isinstance(part, MultiTaskDataset):
            continue
        labels = list(_labels(part))
        hidden |= {label for label, used in labels if not used}
        # Another part of the training set may show what this one hides.
        seen |= {label for label, used in labels if used}
        if not all(used for _, used in labels):
            masks.append(part.partial_labels)
    hidden -= seen
    meant = 0
    for place, part in leaf_datasets(val, 'val_dataloader.dataset'):
        if not hidden or not isinstance(part, MultiTaskDataset):
            continue
        infos = map(part.get_data_info, range(len(part)))
        shown = sum(
            (image, task) in hidden
            for info in infos
            for image in [_identity(info['image'].path)]
            for task in info['labels']
        )
        own = part.partial_labels
        if own is not None and own.protocol == 'full':
            meant += shown
        elif shown:
            mask = 'no label mask' if own is None else f'another mask ({own})'
            raise ValueError(
                f'{setting} would choose a checkpoint by {shown} labels that '
                f'training must not see: {place} is of the training split, '
                f'and has {mask}. Give it the mask of the training '
                f'set ({", ".join(map(repr, masks))}) by '
                f'{place}.partial_labels, or set {place}.partial_labels='
                "'full' to choose by these labels nevertheless"
            )
    return meant


def _labels(
    dataset: MultiTaskDataset,
) -> Iterator[tuple[tuple[Hashable, str], bool]]:
    """The labels of a data set's whole split, image and task, and whether the
    label mask leaves them.
    """
    mask = dataset.label_mask
    for info in dataset.load_data_list():
        image = _identity(info['image'].path)
        for task in info['labels']:
            used = (
                dataset.partial_labels is None
                or mask is None
                or task in mask.labelled[info['sample_id']]
            )
            yield (image, task), used


def _identity(path: str) -> Hashable:
    """Return what is the same for all names and links of a file."""
    try:
        state = os.stat(path)
    except OSError:
        return path  # A rendered scene.
    return state.st_dev, state.st_ino
