"""Several data sets, each with labels of some tasks, as one training set."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.dataset import BaseDataset

from mmprotomtl.label_masks import LabelMask
from mmprotomtl.registry import DATASETS
from mmprotomtl.tasks import Task, build_tasks

from .labels_used import merged_mask, named
from .multitask_dataset import MultiTaskDataset
from .wrappers import ConcatDataset


@DATASETS.register_module()
class MultiTaskConcatDataset(ConcatDataset):
    """Concatenation of data sets that are labelled for different tasks.

    For example, one data set has labels of depth, the next of semantic
    segmentation. The concatenation has the tasks of all parts, and an image
    has labels of the tasks of its own part. Each part keeps its pipeline and
    label mask. Sample ids are prefixed with the number of the part
    (``1-0007``).

    Args:
        datasets: Data sets of this package, or their configs.
        lazy_init: Whether to read the lists of files later.

    Attributes:
        label_mask: Which labels of all parts are used, with a summary of each
            part's mask; None before the lists are read.

    Raises:
        ValueError: ``datasets`` is empty, a part is not a
            :class:`MultiTaskDataset`, or two parts define a task differently
            (other classes, another unit).
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
                    f'datasets[{place}] is a {type(part).__name__}, not a '
                    'MultiTaskDataset'
                )
        self._task_args = _merge(built)
        self.tasks: dict[str, Task] = build_tasks(self._task_args)
        self.label_mask: LabelMask | None = None
        # mmengine refuses parts whose meta information differs, unless the
        # keys are ignored; the property `metainfo` below merges it.
        differing = sorted({key for part in built for key in part.metainfo})
        super().__init__(built, lazy_init, ignore_keys=differing)

    def full_init(self) -> None:
        """Read the lists of files of all parts, and merge their masks."""
        if self._fully_initialized:
            return
        super().full_init()
        self.label_mask = merged_mask(self)

    @property
    def metainfo(self) -> dict:
        """Merged tasks, summary of the label mask, and the parts' metainfo."""
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
        """Return the entry of one sample, before its pipeline."""
        place, index = self._get_ori_dataset_idx(idx)
        info = self.datasets[place].get_data_info(index)
        return {**info, 'sample_id': named(place, info['sample_id'])}

    def __getitem__(self, idx: int) -> dict:
        """Return one sample after the pipeline of its part."""
        self.full_init()
        place, index = self._get_ori_dataset_idx(idx)
        results = self.datasets[place][index]
        sample = results.get('data_samples')
        if sample is None:
            name = named(place, results['sample_id'])
            return {**results, 'sample_id': name}
        if 'sample_id' in sample.metainfo:
            name = named(place, sample.metainfo['sample_id'])
            sample.set_metainfo(dict(sample_id=name))
        return results


def _merge(datasets: Sequence[BaseDataset]) -> dict[str, dict]:
    """Merge the arguments of all tasks; earlier data sets take precedence.

    Raises:
        ValueError: Two data sets define a task differently.
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
