"""The data sets inside data set wrappers, as objects or as configs."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.dataset import BaseDataset


def wrapped_datasets(dataset: Any, place: str = '') -> list[tuple[str, Any]]:
    """What a data set wrapper holds; empty for one that is no wrapper.

    A wrapper has other data sets in ``datasets`` (``ConcatDataset`` of
    mmengine and torch, :class:`MultiTaskConcatDataset`) or one in ``dataset``
    (``RepeatDataset``, ``ClassBalancedDataset``,
    ``torch.utils.data.Subset``); what mmengine puts around a data set for
    ``num_batch_per_epoch`` has it in ``_dataset``.

    Args:
        dataset: A built data set, or the config of one. What a wrapper holds
            may be either.
        place: Where it stands, for messages: ``train_dataloader.dataset``.

    Returns:
        Place (``train_dataloader.dataset.datasets.0``) and data set of each.
    """
    if isinstance(dataset, BaseDataset):
        return []
    start = f'{place}.' if place else ''
    several = _value(dataset, 'datasets')
    if isinstance(several, (list, tuple)) and all(map(_is_dataset, several)):
        return [
            (f'{start}datasets.{number}', part)
            for number, part in enumerate(several)
        ]
    for name in ('dataset', '_dataset'):
        single = _value(dataset, name)
        if _is_dataset(single):
            return [(f'{start}dataset', single)]
    return []


def leaf_datasets(dataset: Any, place: str = '') -> Iterator[tuple[str, Any]]:
    """The data sets that are no wrappers, however deeply they are wrapped.

    Args:
        dataset: See :func:`wrapped_datasets`.
        place: See :func:`wrapped_datasets`.

    Yields:
        Place and data set of each; one that is no wrapper yields itself.
    """
    inside = wrapped_datasets(dataset, place)
    for inner_place, inner in inside:
        yield from leaf_datasets(inner, inner_place)
    if not inside:
        yield place, dataset


def _value(dataset: Any, name: str) -> Any:
    if isinstance(dataset, Mapping):
        return dataset.get(name)
    return getattr(dataset, name, None)


def _is_dataset(value: Any) -> bool:
    """Whether it is a data set, or the config of one."""
    if isinstance(value, Mapping):
        return 'type' in value
    return hasattr(value, '__getitem__') and not isinstance(value, (str, list))
