"""Which labels a training set really has, through all wrappers."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from mmprotomtl.label_masks import LabelMask

from .multitask_dataset import MultiTaskDataset
from .unwrap import leaf_datasets, wrapped_datasets


def label_facts(dataset: Any) -> dict[str, dict | None]:
    """Describe the labels of a training set, for logs and results.

    Args:
        dataset: A data set, or a wrapper of some. The lists of files have
            been read.

    Returns:
        ``label_mask``, the summary of the label mask (None: no label is
        hidden), which is made for all images of the split and may speak of
        more tasks than are trained; and ``labels_used``: ``images``,
        ``labels`` (task -> number) and ``sha256`` of what is left of it for
        the trained tasks after ``holdout``, ``indices``, ``filter_cfg`` and
        wrappers. Where labels are derived from these, ``derived`` (task ->
        number) counts them apart; they are in no other number. Empty if
        there is no data set of this package.
    """
    parts = [
        (place, part)
        for place, part in leaf_datasets(dataset)
        if isinstance(part, MultiTaskDataset)
    ]
    if not parts:
        return {}
    used = merged_mask(dataset)
    mask = parts[0][1].label_mask if len(parts) == 1 else used
    labels_used: dict[str, Any] = dict(
        images=len(used.labelled),
        labels=used.counts(),
        sha256=used.sha256,
    )
    if any(part.derived_from for _, part in parts):
        rows = dict(_rows(dataset, _derived)).values()
        labels_used['derived'] = dict(sorted(Counter(chain(*rows)).items()))
    return dict(
        label_mask=None if mask is None else mask.summary(),
        labels_used=labels_used,
    )


def merged_mask(dataset: Any) -> LabelMask:
    """Make one mask of the labels that are left in all data sets.

    Args:
        dataset: A data set, or a wrapper of some.

    Returns:
        The mask, with the summary of each data set's own mask. The ids of a
        concatenation have the number of the part before them (``1-0007``).
    """
    parts = [
        (place, part)
        for place, part in leaf_datasets(dataset)
        if isinstance(part, MultiTaskDataset)
    ]
    return LabelMask(
        dict(_rows(dataset)),
        sorted({name for _, part in parts for name in part.tasks}),
        'concatenated',
        parts=[
            dict(
                part=place,
                type=type(part).__name__,
                **_mask_of(part).summary(),
            )
            for place, part in parts
        ],
    )


def named(place: int, sample_id: str) -> str:
    """Return the id of an image in a concatenation of data sets."""
    return f'{place}-{sample_id}'


#: Of an image's entry, some of the tasks with a label.
_Names = Callable[[Mapping], Sequence[str]]


def _given(info: Mapping) -> Sequence[str]:
    """The tasks of which an image has a label of the data set's."""
    return tuple(info['labels'])


def _derived(info: Mapping) -> Sequence[str]:
    """The tasks whose labels are derived from others of the image."""
    return tuple(info['derived'])


def _rows(
    dataset: Any, names: _Names = _given
) -> list[tuple[str, Sequence[str]]]:
    """Return id and labelled tasks of the images, in the order of a data set.

    An image that is repeated may be left out.
    """
    parts = wrapped_datasets(dataset)
    if not parts:
        if not isinstance(dataset, MultiTaskDataset):
            return []
        infos = map(dataset.get_data_info, range(len(dataset)))
        return [(info['sample_id'], names(info)) for info in infos]
    rows: list[tuple[str, Sequence[str]]] = []
    for number, (place, part) in enumerate(parts):
        several = place.startswith('datasets.')
        rows += [
            (named(number, sample) if several else sample, tasks)
            for sample, tasks in _rows(part, names)
        ]
    # Asked of the object alone: mmengine's wrapper for num_batch_per_epoch
    # answers for the data set inside it.
    own = vars(dataset)
    order = own.get('indices', own.get('repeat_indices'))
    if order is not None:
        rows = [rows[int(index)] for index in order]
    return rows[: len(dataset)]


def _mask_of(part: MultiTaskDataset) -> LabelMask:
    """Return the label mask of a part, or a full mask if it has none."""
    if part.label_mask is not None:
        return part.label_mask
    return LabelMask(dict(_rows(part)), list(part.tasks), 'full')
