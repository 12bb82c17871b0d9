"""Find the data sets inside wrappers, for built data sets and configs."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.dataset import BaseDataset


def wrapped_datasets(dataset: Any, place: str = '') -> list[tuple[str, Any]]:
    """Return the data sets directly inside a wrapper.

    A wrapper has several data sets in ``datasets`` (``ConcatDataset`` of
    mmengine and torch, :class:`MultiTaskConcatDataset`) or one in ``dataset``
    (``RepeatDataset``, ``ClassBalancedDataset``,
    ``torch.utils.data.Subset``). The wrapper that mmengine uses for
    ``num_batch_per_epoch`` has it in ``_dataset``, and no key in the config.

    Args:
        dataset: A built data set or the config of one. The data sets inside
            may also be either.
        place: Key of ``dataset`` in the config, for messages:
            ``train_dataloader.dataset``.

    Returns:
        Key (``train_dataloader.dataset.datasets.0``) and data set of each
        part; empty if ``dataset`` is not a wrapper.
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
    single = _value(dataset, 'dataset')
    if _is_dataset(single):
        return [(f'{start}dataset', single)]
    single = _value(dataset, '_dataset')
    if _is_dataset(single):
        return [(place, single)]
    return []


def leaf_datasets(dataset: Any, place: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the innermost data sets of nested wrappers.

    Args:
        dataset: See :func:`wrapped_datasets`.
        place: See :func:`wrapped_datasets`.

    Yields:
        Key and data set of each; ``dataset`` itself if it is not a wrapper.
    """
    inside = wrapped_datasets(dataset, place)
    for inner_place, inner in inside:
        yield from leaf_datasets(inner, inner_place)
    if not inside:
        yield place, dataset


def _value(dataset: Any, name: str) -> Any:
    if isinstance(dataset, Mapping):
        return dataset.get(name)
    # Not what `__getattr__` finds in the data set inside, which would pass a
    # wrapper over: that for num_batch_per_epoch is such a one.
    if name in getattr(dataset, '__dict__', {}) or hasattr(
        type(dataset), name
    ):
        return getattr(dataset, name)
    return None


def _is_dataset(value: Any) -> bool:
    """Whether a value is a data set or the config of one."""
    if isinstance(value, Mapping):
        return 'type' in value
    return hasattr(value, '__getitem__') and not isinstance(value, (str, list))
