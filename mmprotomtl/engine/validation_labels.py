"""No checkpoint is chosen by labels that the label mask hides."""

from collections.abc import Iterator
from typing import Any

from mmprotomtl.datasets import MultiTaskDataset
from mmprotomtl.datasets.unwrap import leaf_datasets


def check_validation_labels(train: Any, val: Any, setting: str) -> None:
    """Refuse a choice by labels of the training split that are hidden there.

    A validation set that is a part of the training split (``holdout``) has
    all labels of its images unless it has a label mask of its own. With
    ``partial_labels='full'`` it says that this is meant.

    Args:
        train: The training set, or a wrapper of data sets.
        val: The validation set, or a wrapper of data sets.
        setting: What chooses by the validation, for the message.

    Raises:
        ValueError: The validation set uses labels that the training set's
            mask hides, and has no ``partial_labels``.
    """
    hidden: set[tuple[str, str]] = set()
    masks = []
    for _, part in leaf_datasets(train):
        found = set(_hidden(part))
        hidden |= found
        masks += [part.partial_labels] if found else []
    for place, part in leaf_datasets(val, 'val_dataloader.dataset'):
        if not isinstance(part, MultiTaskDataset) or part.partial_labels:
            continue
        infos = map(part.get_data_info, range(len(part)))
        shown = sum(
            (info['image'].path, task) in hidden
            for info in infos
            for task in info['labels']
        )
        if shown:
            raise ValueError(
                f'{setting} would choose a checkpoint by {shown} labels that '
                f'training must not see: {place} is of the training split, '
                f'and has no label mask. Give it the mask of the training '
                f'set ({", ".join(map(repr, masks))}) by '
                f'{place}.partial_labels, or set {place}.partial_labels='
                "'full' to choose by these labels nevertheless"
            )


def _hidden(dataset: Any) -> Iterator[tuple[str, str]]:
    """The labels of its whole split that a data set hides: path of the image
    and task.
    """
    setting = getattr(dataset, 'partial_labels', None)
    if not isinstance(dataset, MultiTaskDataset) or setting is None:
        return
    assert dataset.label_mask is not None
    for info in dataset.load_data_list():
        used = dataset.label_mask.labelled[info['sample_id']]
        for task in info['labels']:
            if task not in used:
                yield info['image'].path, task
