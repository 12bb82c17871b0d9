"""Several data sets, each labelled for some tasks, as one training set."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.dataset import BaseDataset

from mmprotomtl.label_masks import LabelMask
from mmprotomtl.registry import DATASETS
from mmprotomtl.tasks import Task, build_tasks

from .multitask_dataset import MultiTaskDataset
from .wrappers import ConcatDataset


@DATASETS.register_module()
class MultiTaskConcatDataset(ConcatDataset):
    """Data sets one after the other: one labels depth, the next semantics.

    It has the tasks of all of them; an image has labels of the tasks that its
    data set names. Each data set keeps its own pipeline and label mask. Ids
    of samples get the number of their data set in front (``1-0007``).

    Args:
        datasets: Data sets of this package, or their configs.
        lazy_init: Whether to read the lists of files later.

    Attributes:
        label_mask: Which labels of all data sets are used, and what each
            one's mask says of itself; None before the lists are read.

    Raises:
        ValueError: There is none, one is not of this package, or two mean
            different things by a task (other classes, another unit).
    """

    datasets: list[MultiTaskDataset]

    def __init__(
        self,
        datasets: Sequence[MultiTaskDataset | dict],
        lazy_init: bool = False,
    ) -> None:
        built = [
            DATASETS.build({**part, 'lazy_init': True})
            if isinstance(part, Mapping)
            else part
            for part in datasets
        ]
        if not built:
            raise ValueError('datasets=[] is not allowed: give at least one')
        for place, part in enumerate(built):
            if not isinstance(part, MultiTaskDataset):
                raise ValueError(
                    f'datasets[{place}] is a {type(part).__name__}, no data '
                    'set of many tasks'
                )
        self._task_args = _merge(built)
        self.tasks: dict[str, Task] = build_tasks(self._task_args)
        self.label_mask: LabelMask | None = None
        # mmengine would refuse meta information that differs; ours is merged.
        differing = sorted({key for part in built for key in part.metainfo})
        super().__init__(built, lazy_init, ignore_keys=differing)

    def full_init(self) -> None:
        """Read the lists of all data sets."""
        if self._fully_initialized:
            return
        super().full_init()
        rows = {
            _named(place, info['sample_id']): list(info['labels'])
            for place, part in enumerate(self.datasets)
            for info in map(part.get_data_info, range(len(part)))
        }
        self.label_mask = LabelMask(
            rows,
            list(self.tasks),
            'concatenated',
            parts=[
                dict(
                    part=f'datasets.{place}',
                    type=type(part).__name__,
                    **_mask_of(part).summary(),
                )
                for place, part in enumerate(self.datasets)
            ],
        )

    @property
    def metainfo(self) -> dict:
        """The tasks of all, what is labelled of them, and the parts'."""
        info: dict[str, Any] = dict(
            tasks={name: dict(args) for name, args in self._task_args.items()},
            datasets=[
                dict(type=type(part).__name__, **part.metainfo)
                for part in self.datasets
            ],
        )
        if self.label_mask is not None:
            info['label_mask'] = self.label_mask.summary()
        return info

    def get_data_info(self, idx: int) -> dict:
        """The entry of one sample, before its pipeline."""
        place, index = self._get_ori_dataset_idx(idx)
        info = self.datasets[place].get_data_info(index)
        return {**info, 'sample_id': _named(place, info['sample_id'])}

    def __getitem__(self, idx: int) -> dict:
        """One sample after its data set's pipeline."""
        self.full_init()
        place, index = self._get_ori_dataset_idx(idx)
        results = self.datasets[place][index]
        sample = results.get('data_samples')
        if sample is None:
            name = _named(place, results['sample_id'])
            return {**results, 'sample_id': name}
        if 'sample_id' in sample.metainfo:
            name = _named(place, sample.metainfo['sample_id'])
            sample.set_metainfo(dict(sample_id=name))
        return results


def _named(place: int, sample_id: str) -> str:
    return f'{place}-{sample_id}'


def _mask_of(part: MultiTaskDataset) -> LabelMask:
    """The label mask of a part; of one without a mask, every label."""
    if part.label_mask is not None:
        return part.label_mask
    infos = map(part.get_data_info, range(len(part)))
    rows = {info['sample_id']: list(info['labels']) for info in infos}
    return LabelMask(rows, list(part.tasks), 'full')


def _merge(datasets: Sequence[BaseDataset]) -> dict[str, dict]:
    """The arguments of all tasks; the first data set's over the others'.

    Raises:
        ValueError: Two data sets mean different things by a task.
    """
    merged: dict[str, dict] = {}
    meant: dict[tuple[str, str], tuple[int, object]] = {}
    for place, part in enumerate(datasets):
        for name, task in part.tasks.items():
            for key, value in task.meaning().items():
                if value is None:
                    continue
                first, known = meant.setdefault((name, key), (place, value))
                if known != value:
                    raise ValueError(
                        f'tasks.{name}.{key} is {known!r} in datasets[{first}]'
                        f' ({type(datasets[first]).__name__}) but {value!r} '
                        f'in datasets[{place}] ({type(part).__name__}): one '
                        'network cannot learn both under one name'
                    )
        for name, args in part.metainfo['tasks'].items():
            merged[name] = {**args, **merged.get(name, {})}
    return merged
