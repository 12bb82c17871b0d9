"""Base class of all data sets for dense multi-task prediction."""

import hashlib
import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmprotomtl.datasets.samplers import sample_seed
from mmprotomtl.label_masks import LabelMask, PartialLabels
from mmprotomtl.registry import TRANSFORMS
from mmprotomtl.tasks import Task, build_tasks, complete_args, needs_rays
from mmprotomtl.utils.camera import Camera, parse_camera
from mmprotomtl.utils.errors import DataFileError, check_choice

from .derived import find_sources, sources_of
from .transforms.allowed import check_pipeline
from .transforms.cut_mix import steps_before_mix
from .transforms.labels_left import changed_labels
from .transforms.partial_annotation import split_label_masks


class MultiTaskDataset(BaseDataset):
    """Images with labels of several tasks; each image may lack some labels.

    A subclass implements one layout on disk. Its ``METAINFO['tasks']`` has the
    facts of the files about each task (such as the classes of ``semseg``, see
    :meth:`task_facts`), and its :meth:`load_data_list` lists the files and
    their readers.

    Each entry of the data list is a dict with ``sample_id`` (str), ``image``
    (a :class:`~mmprotomtl.readers.files.DataFile`, RGB) and ``labels`` (task
    -> DataFile). No label file is opened before a transform loads it. Labels
    that the label mask hides are not in the list.

    Args:
        tasks: Name -> arguments, like the config's ``tasks``; facts of the
            files are filled in. None: all tasks of the data set. Leave it out
            in the config of a run: ``load_config`` passes the run's tasks to
            all data sets.
        partial_labels: Which labels are used: a protocol's name
            (``'one-label'``), the path of a mask file, or a dict such as
            ``dict(protocol='ratio', ratio=0.3, seed=1)``, see
            :class:`~mmprotomtl.label_masks.PartialLabels`. None: all labels,
            unless a step of the pipeline is a :class:`PartialAnnotation`.
        split: One of :attr:`SPLITS`.
        filter_cfg: ``dict(drop_unlabelled=True)`` leaves out images without
            any label of ``tasks``, after the label mask was applied.
        holdout: ``dict(fraction=.1, seed=0, part='train')`` keeps only a part
            of the split. ``part='val'`` is a random ``fraction`` of its
            images, drawn with ``seed``; ``part='train'`` is all other images.
            The label mask is still made for all images of the split.
        derived_labels: Labels to add to those that the label mask leaves,
            because they follow from them: the normals of a depth label, for
            example. True: all that follow; or names of tasks. An image with a
            label of a task gets no other one. For training only.
        camera: ``dict(fx=, fy=, cx=, cy=, size=(height, width))``, the
            intrinsics of the images in pixels, see
            :class:`~mmprotomtl.utils.camera.Camera`. Images of another size
            are taken for resized ones. None: those that the data set knows.
        fixed_views: Number V of augmented views of each image. Training draws
            one of them each time, and view v of an image is the same in every
            epoch, run and part of the data set, so that features of a frozen
            backbone can be kept (``FeatureCacheHook``). None: each view is a
            new one.
        **kwargs: See :class:`mmengine.dataset.BaseDataset`.

    Attributes:
        derived_from: Task -> tasks of whose visible labels its own are made.
        partial_labels: The setting; None: no label is hidden.
        label_mask: Which labels are used. It is made when the list of files
            is read; None before that, or if no label is hidden.

    Raises:
        ValueError: A setting is not allowed, or there are two label masks.
    """

    METAINFO: ClassVar[dict] = dict(tasks={})
    _fully_initialized: bool
    #: Names of the splits.
    SPLITS: ClassVar[Sequence[str]] = ('train', 'val')
    #: Splits on which published tables are scored. No checkpoint is chosen on
    #: them. Most data sets of the field call theirs `val`.
    TEST_SPLITS: ClassVar[Sequence[str]] = ('val', 'test')
    #: Height and width of the images as they are published, if all have them.
    USUAL_SIZE: ClassVar[tuple[int, int] | None] = None
    #: Split -> number of images that the authors published, if known.
    PUBLISHED: ClassVar[Mapping[str, int]] = {}
    #: List that collects the errors of :meth:`refuse`; None: they are raised.
    problems: list[DataFileError] | None = None

    def __init__(
        self,
        tasks: Mapping[str, dict] | None = None,
        partial_labels: str | os.PathLike | Mapping | None = None,
        split: str = 'train',
        pipeline: Sequence = (),
        holdout: dict | None = None,
        derived_labels: bool | str | Sequence[str] = False,
        camera: Mapping | None = None,
        fixed_views: int | None = None,
        **kwargs,
    ) -> None:
        if fixed_views is not None and fixed_views < 1:
            raise ValueError(
                f'fixed_views={fixed_views!r} is not allowed: give the number '
                'of views of each image, 1 or more, or None'
            )
        self.fixed_views = fixed_views
        if split not in self.SPLITS:
            raise ValueError(
                f'split={split!r} is not allowed for {type(self).__name__}: '
                f'choose one of {list(self.SPLITS)}'
            )
        self.split = split
        self.holdout = None if holdout is None else _check_holdout(**holdout)
        self._task_args = self._fill_in(tasks)
        self.tasks: dict[str, Task] = build_tasks(self._task_args)
        # Built here, from our registry, so that they are found with any
        # default scope.
        steps, masks = split_label_masks(
            [
                TRANSFORMS.build(step) if isinstance(step, Mapping) else step
                for step in pipeline
            ]
        )
        if partial_labels is not None:
            masks.insert(0, PartialLabels.parse(partial_labels))
        if len(masks) > 1:
            raise ValueError(
                f'{type(self).__name__} has {len(masks)} label masks: '
                f'{", ".join(map(repr, masks))}. Give one, as partial_labels '
                'or as PartialAnnotation in the pipeline'
            )
        self.partial_labels = masks[0] if masks else None
        self.label_mask: LabelMask | None = None
        check_pipeline(steps)
        self._before_mix = steps_before_mix(steps)
        if self.mixes and fixed_views is not None:
            raise ValueError(
                f'fixed_views={fixed_views} is not allowed with '
                'MultiTaskCutMix: a view would depend on another image, and '
                'on which images the data set has'
            )
        self.camera = None if camera is None else parse_camera(camera)
        self.derived_from = find_sources(
            self.tasks,
            derived_labels,
            self.has_camera(),
            type(self).__name__,
        )
        super().__init__(pipeline=steps, **kwargs)

    @classmethod
    def task_facts(cls, args: Mapping) -> Mapping[str, dict]:
        """Return the facts of the files about each task.

        Facts are those arguments of a task that follow from the files: classes
        and palette, unit, the edge benchmark's ``max_dist``, and the range of
        depths in visualisations. Loss weights and metrics are settings of the
        run and no facts.

        Args:
            args: The data set's arguments, as in a config.

        Returns:
            Task -> facts, in the order of the columns of published masks.
        """
        del args
        return cls.METAINFO['tasks']

    def known_tasks(self) -> Mapping[str, dict]:
        """Return :meth:`task_facts` for this data set's arguments."""
        return self.task_facts({})

    def _fill_in(self, tasks: Mapping[str, dict] | None) -> dict[str, dict]:
        """Complete the arguments of the tasks by the facts of the files.

        Raises:
            ValueError: The data set has no such task, or an argument
                contradicts the facts.
        """
        known = self.known_tasks()
        if tasks is None:
            return {name: dict(args) for name, args in known.items()}
        source = type(self).__name__
        filled = {}
        for name, args in tasks.items():
            if name not in known:
                raise ValueError(
                    f'tasks.{name}: {source} has no labels of it; it has '
                    f'{list(known)}'
                )
            filled[name] = complete_args(name, args, known[name], source)
        return filled

    @property
    def metainfo(self) -> dict:
        """Tasks, split, holdout and label mask, as plain values."""
        info = super().metainfo
        info['tasks'] = {n: dict(args) for n, args in self._task_args.items()}
        info['split'] = self.split
        if self.holdout is not None:
            info['holdout'] = dict(self.holdout)
        if self.label_mask is not None:
            info['label_mask'] = self.label_mask.summary()
        if self.derived_from:
            info['derived_labels'] = dict(self.derived_from)
        return info

    def refuse(self, path: str, problem: str) -> None:
        """Report a problem after which the list can still be read further.

        Args:
            path: The file.
            problem: What is wrong with it.

        Raises:
            DataFileError: Always, unless :attr:`problems` collects the errors.
        """
        error = DataFileError(path, problem)
        if self.problems is None:
            raise error
        self.problems.append(error)

    def has_camera(self) -> bool:
        """Whether the intrinsics of the images are known."""
        return self.camera is not None

    def camera_of(self, sample_id: str) -> Camera | None:
        """The camera of an image; None: unknown."""
        del sample_id
        return self.camera

    def has_label(self, sample_id: str, task: str) -> bool:
        """Whether an image has a label of a task on disk, hidden or not."""
        del sample_id, task
        return True

    def applicable(self, sample_id: str, task: str) -> bool:
        """Whether an image can have a useful label of a task.

        Body parts, for example, need a person in the image. Protocols that
        draw label masks use it.
        """
        del sample_id, task
        return True

    def make_label_mask(self, samples: Sequence[str]) -> LabelMask | None:
        """Read or draw the label mask. The list of files must have been read.

        Args:
            samples: Ids of all images of the split.

        Returns:
            The mask; None if no label is hidden.

        Raises:
            DataFileError: The mask file is damaged, or it belongs to another
                data set.
            ValueError: The settings of the protocol are wrong.
        """
        if self.partial_labels is None:
            return None
        # Protocol `full` uses every label file. `applicable` would have to
        # open the files of body parts to find people, without any benefit.
        whole = self.partial_labels.protocol == 'full'
        mask = self.partial_labels.label_mask(
            samples,
            tuple(self.tasks),
            tuple(self.known_tasks()),
            self.has_label if whole else self.applicable,
        )
        missing = [
            f'{task} of {sample!r}'
            for sample, tasks in mask.labelled.items()
            for task in tasks
            if mask.source is not None and not self.has_label(sample, task)
        ]
        if missing:
            raise DataFileError(
                str(mask.source),
                f'a mask of another data set: {len(missing)} labels that it '
                f'lists do not exist, such as {", ".join(missing[:3])}',
            )
        return mask

    def full_init(self) -> None:
        """Read the list of samples and remove the hidden labels from it.

        Raises:
            ValueError: There is no sample.
        """
        if self._fully_initialized:
            return
        samples = self.load_data_list()
        ids = [info['sample_id'] for info in samples]
        self.label_mask = self.make_label_mask(ids)
        for info in samples:
            files = info['labels']
            used = set(self.tasks)
            if self.label_mask is not None:
                used &= set(self.label_mask.labelled[info['sample_id']])
            info['labels'] = {
                name: files[name]
                for name in self.tasks
                if name in files and name in used
            }
        kept_ids = _holdout_ids(ids, self.holdout)
        if self.filter_cfg and self.filter_cfg.get('drop_unlabelled'):
            kept = [info for info in samples if info['labels']]
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

    def get_data_info(self, idx: int) -> dict:
        """Return the entry of one sample, with the task objects.

        Where labels are derived, ``derived`` says of which.
        """
        info = super().get_data_info(idx)
        info['tasks'] = self.tasks
        info['derived'] = sources_of(info['labels'], self.derived_from)
        if info['derived'] or needs_rays(self.tasks):
            info['camera'] = self.camera_of(info['sample_id'])
        return info

    def prepare_data(self, idx: int) -> dict:
        """Return one sample after the pipeline.

        If the index carries a seed of the sampler, all random decisions of
        the transforms depend on this seed only, or, with ``fixed_views``, on
        the image and the view that the seed chooses. So they are the same for
        any number of loader workers and after a resume.

        Raises:
            RuntimeError: A transform has removed the label of a task, or
                added one that the label mask hides. What is reported of the
                labels would not be true.
        """
        info = self.get_data_info(idx)
        sample_id, labels = info['sample_id'], _labels_of(info)
        seed = sample_seed(idx)
        if seed is not None:
            if self.fixed_views is not None:
                seed = _view_seed(sample_id, seed % self.fixed_views)
            random.seed(seed)
            np.random.seed(seed)
        if self._before_mix is not None:
            info['partner'] = self._partner(labels)
        results = self.pipeline(info)
        problem = changed_labels(
            labels, results, self.partial_labels is not None
        )
        if problem:
            raise RuntimeError(
                f'{type(self).__name__}, image {sample_id!r}: {problem}'
            )
        return results

    @property
    def mixes(self) -> bool:
        """Whether a sample may have a part of another image."""
        return self._before_mix is not None

    def _partner(self, labels: set[str]) -> Callable[[], dict]:
        """A function that gives :class:`MultiTaskCutMix` another image, and
        adds the tasks of its labels to ``labels``.
        """

        def load() -> dict:
            info = self.get_data_info(np.random.randint(len(self)))
            labels.update(_labels_of(info))
            for step in self._before_mix or ():
                info = step(info)
            return info

        return load


def _labels_of(info: Mapping) -> set[str]:
    """The tasks of which an image's sample has a label."""
    return {*info['labels'], *info['derived']}


def _view_seed(sample_id: str, view: int) -> int:
    """Seed of the random transforms of a view, of 32 bits."""
    name = f'{view} {sample_id}'.encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=4).digest())


def _check_holdout(
    fraction: float = 0.1, seed: int = 0, part: str = 'train'
) -> dict:
    """Return all settings of ``holdout``, with defaults filled in.

    Raises:
        ValueError: A setting is not allowed.
    """
    check_choice('holdout.part', part, ('train', 'val'))
    if not 0 < fraction < 1:
        raise ValueError(
            f'holdout.fraction={fraction!r} is not allowed: choose a share '
            'between 0 and 1'
        )
    return dict(fraction=fraction, seed=seed, part=part)


def _holdout_ids(samples: Sequence[str], holdout: dict | None) -> set[str]:
    """Return the ids of the part that ``holdout`` selects."""
    if holdout is None:
        return set(samples)
    number = max(round(len(samples) * holdout['fraction']), 1)
    order = np.random.default_rng(holdout['seed']).permutation(len(samples))
    chosen = {samples[place] for place in order[:number]}
    return chosen if holdout['part'] == 'val' else set(samples) - chosen
