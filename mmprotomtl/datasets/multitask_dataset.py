"""What all data sets of dense multi-task prediction share."""

import random
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmprotomtl.datasets.samplers import sample_seed
from mmprotomtl.registry import TRANSFORMS
from mmprotomtl.tasks import Task, build_tasks
from mmprotomtl.utils.errors import DataFileError, choose

from .transforms.allowed import check_pipeline
from .transforms.partial_annotation import PartialAnnotation


class MultiTaskDataset(BaseDataset):
    """Images with labels of several tasks, each image of some.

    A subclass is a layout on disk: its ``METAINFO['tasks']`` holds what the
    data set knows of each task (the classes of ``semseg``), and
    :meth:`load_data_list` says where the files are and how they are read.

    Each entry of the data list is a dict with ``sample_id`` (str), ``image``
    (a :class:`~mmprotomtl.readers.files.DataFile`, RGB) and ``labels`` (task
    -> DataFile). No label file is touched before a transform loads it, and
    those that the label mask hides are taken out of ``labels`` first.

    Args:
        tasks: Name -> arguments, as the config's ``tasks``; what the data set
            knows of a task is filled in. None: all of the data set's tasks.
        partial_labels: Arguments of :class:`PartialAnnotation`, put in front
            of the pipeline; None: none is added.
        split: The part of the data set.
        filter_cfg: ``dict(drop_unlabelled=True)`` leaves out images that have
            no label of ``tasks``, or to which the label mask leaves none.
        holdout: ``dict(fraction=.1, seed=0, part='train')``: keep only this
            part of the split. ``part='val'`` is ``fraction`` of its images,
            drawn with ``seed``; ``part='train'`` is all others. A label mask
            still speaks of all images of the split.
        **kwargs: See :class:`mmengine.dataset.BaseDataset`.
    """

    METAINFO: ClassVar[dict] = dict(tasks={})
    _fully_initialized: bool
    #: Names of the parts.
    SPLITS: ClassVar[Sequence[str]] = ('train', 'val')
    #: Those that published tables are scored on; no checkpoint is chosen on
    #: them. Most data sets of the field call theirs `val`.
    TEST_SPLITS: ClassVar[Sequence[str]] = ('val', 'test')
    #: Part -> how many images its authors published, where that is known.
    PUBLISHED: ClassVar[Mapping[str, int]] = {}
    #: Where the errors of :meth:`refuse` go; None: they are raised.
    problems: list[DataFileError] | None = None

    def __init__(
        self,
        tasks: Mapping[str, dict] | None = None,
        partial_labels: dict | None = None,
        split: str = 'train',
        pipeline: Sequence = (),
        holdout: dict | None = None,
        **kwargs,
    ) -> None:
        if split not in self.SPLITS:
            raise ValueError(
                f'split={split!r} is not allowed for {type(self).__name__}: '
                f'choose one of {list(self.SPLITS)}'
            )
        self.split = split
        self.holdout = None if holdout is None else _check_holdout(**holdout)
        self._task_args = self._fill_in(tasks)
        self.tasks: dict[str, Task] = build_tasks(self._task_args)
        pipeline = list(pipeline)
        if partial_labels is not None:
            partial_labels = dict(partial_labels)
            partial_labels.setdefault('type', 'PartialAnnotation')
            pipeline.insert(0, partial_labels)
        # Built from our registry, they are found whatever the default scope.
        steps = [
            TRANSFORMS.build(step) if isinstance(step, Mapping) else step
            for step in pipeline
        ]
        check_pipeline(steps)
        super().__init__(pipeline=steps, **kwargs)

    def known_tasks(self) -> Mapping[str, dict]:
        """Task -> what the data set knows of it, in the order of the columns
        of its published label masks.
        """
        return self.METAINFO['tasks']

    def _fill_in(self, tasks: Mapping[str, dict] | None) -> dict[str, dict]:
        """The arguments of the tasks, the config's over the data set's.

        Raises:
            ValueError: The data set has no such task, or other classes.
        """
        known = self.known_tasks()
        if tasks is None:
            return {name: dict(args) for name, args in known.items()}
        filled = {}
        for name, args in tasks.items():
            if name not in known:
                raise ValueError(
                    f'tasks.{name}: {type(self).__name__} has no labels of '
                    f'it; it has {list(known)}'
                )
            args = dict(args or {})
            ours = known[name].get('num_classes')
            if ours not in (None, args.get('num_classes', ours)):
                raise ValueError(
                    f'tasks.{name}.num_classes={args["num_classes"]}, but '
                    f'{type(self).__name__} has {ours} classes'
                )
            filled[name] = {**known[name], **args}
        return filled

    @property
    def metainfo(self) -> dict:
        """Tasks, and what is labelled of them; plain values only."""
        info = super().metainfo
        info['tasks'] = {n: dict(args) for n, args in self._task_args.items()}
        info['split'] = self.split
        if self.holdout is not None:
            info['holdout'] = dict(self.holdout)
        masks = [t.mask.summary() for t in self._label_maskers() if t.mask]
        if masks:
            info['label_mask'] = masks[-1]
        return info

    def _label_maskers(self) -> list[PartialAnnotation]:
        return [
            step
            for step in self.pipeline.transforms
            if isinstance(step, PartialAnnotation)
        ]

    def refuse(self, path: str, problem: str) -> None:
        """Say what is wrong with a file, where reading the list can go on.

        Raises:
            DataFileError: Unless a check of the data collects the errors.
        """
        error = DataFileError(path, problem)
        if self.problems is None:
            raise error
        self.problems.append(error)

    def has_label(self, sample_id: str, task: str) -> bool:
        """Whether there is a label of a task for an image, hidden or not."""
        del sample_id, task
        return True

    def applicable(self, sample_id: str, task: str) -> bool:
        """Whether an image can have labels of a task at all (body parts need
        a person); asked where a protocol draws labels.
        """
        del sample_id, task
        return True

    def full_init(self) -> None:
        """Read the list of samples and bind the label mask to it."""
        if self._fully_initialized:
            return
        samples = self.load_data_list()
        for info in samples:
            files = info['labels']
            info['labels'] = {n: files[n] for n in self.tasks if n in files}
        kept_ids = _carve([i['sample_id'] for i in samples], self.holdout)
        for step in self._label_maskers():
            step.bind(self, [info['sample_id'] for info in samples])
        if self.filter_cfg and self.filter_cfg.get('drop_unlabelled'):
            kept = [info for info in samples if self.labels_left(info)]
            print_log(
                f'{len(kept)} of {len(samples)} images have a label of '
                f'{", ".join(self.tasks)}; the others are left out',
                logger='current',
            )
            samples = kept
        self.data_list = [i for i in samples if i['sample_id'] in kept_ids]
        if self._indices is not None:
            self.data_list = self._get_unserialized_subset(self._indices)
        if not self.data_list:
            raise ValueError(
                f'{type(self).__name__} found no sample of split '
                f'{self.split!r} in {self.data_root!r}'
            )
        if self.serialize_data:
            self.data_bytes, self.data_address = self._serialize_data()
        self._fully_initialized = True

    def labels_left(self, info: dict) -> dict:
        """The labels of an entry that no mask hides."""
        for step in self._label_maskers():
            info = step.hide(info)
        return info['labels']

    def get_data_info(self, idx: int) -> dict:
        """The entry of one sample, with the task objects."""
        info = super().get_data_info(idx)
        info['tasks'] = self.tasks
        return info

    def prepare_data(self, idx: int) -> dict:
        """One sample after the pipeline.

        If the sampler sent a seed with the index, the random decisions of the
        transforms follow from it alone: they are the same for any number of
        loader workers, and after a resume.
        """
        seed = sample_seed(idx)
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed)
        return super().prepare_data(idx)


def _check_holdout(
    fraction: float = 0.1, seed: int = 0, part: str = 'train'
) -> dict:
    """The settings of ``holdout``, complete.

    Raises:
        ValueError: One of them is not allowed.
    """
    choose('holdout.part', part, ('train', 'val'))
    if not 0 < fraction < 1:
        raise ValueError(
            f'holdout.fraction={fraction!r} is not allowed: choose a share '
            'between 0 and 1'
        )
    return dict(fraction=fraction, seed=seed, part=part)


def _carve(samples: Sequence[str], holdout: dict | None) -> set[str]:
    """The ids of the part that ``holdout`` names."""
    if holdout is None:
        return set(samples)
    number = max(round(len(samples) * holdout['fraction']), 1)
    order = np.random.default_rng(holdout['seed']).permutation(len(samples))
    chosen = {samples[place] for place in order[:number]}
    return chosen if holdout['part'] == 'val' else set(samples) - chosen
