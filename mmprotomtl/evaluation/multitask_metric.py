"""Scores of every task over a data set."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from prettytable import PrettyTable
from torch import Tensor

from mmprotomtl.readers.ids import read_ids
from mmprotomtl.registry import METRICS, TASK_MEASURES
from mmprotomtl.tasks import PROTOCOLS, Task, build_tasks
from mmprotomtl.utils.errors import check_choice

from .delta import Reference, ReferenceFiles
from .measures import Measure
from .sums import ExactSum
from .workers import Workers


@METRICS.register_module()
class MultiTaskMetric(BaseMetric):
    """Scores each task by its own measures, pooled over the data set.

    Keys are ``<task>/<metric>``: ``semseg/mIoU``, ``depth/RMSE`` and so on.
    Only sums of statistics are kept, so that memory does not grow with the
    data set, and they are exact, so that the values depend on neither batch
    size nor process count. An image without a label of a task is not in that
    task's score; a task without any label scores NaN, with a warning.

    Args:
        tasks: As in a config's ``tasks``, or task objects. None: those of the
            model, which a run hands over (:class:`TaskCheckHook`), else those
            of the data set's meta information.
        protocol: Whose way of scoring: ``default``, ``invpt``, ``mtinet`` or
            ``mtpsl``; each task says what it means for it.
        reference: ``metrics.json`` of single-task runs (one file, a list, or
            task -> file): the scores get ``delta_m``, the mean relative
            change in percent. :class:`MetricsFileHook` checks that test data,
            label mask and seed are the same.
        image_lists: Task -> file of image ids, one a line: only these are in
            the task's score. Published tables score edges so.
        workers: Processes (of each rank) for measures that are slow, edges;
            0: none beside the evaluation's own.
        **kwargs: See :class:`mmengine.evaluator.BaseMetric`.
    """

    default_prefix = ''

    def __init__(
        self,
        tasks: Mapping[str, Mapping[str, Any] | Task] | None = None,
        protocol: str = 'default',
        reference: ReferenceFiles | None = None,
        image_lists: Mapping[str, str] | None = None,
        workers: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._given = tasks is not None
        self._tasks = None if tasks is None else build_tasks(tasks)
        check_choice('MultiTaskMetric.protocol', protocol, PROTOCOLS)
        self.protocol = protocol
        self.reference = None if reference is None else Reference(reference)
        self._lists = {
            name: frozenset(read_ids(path))
            for name, path in (image_lists or {}).items()
        }
        if workers < 0:
            raise ValueError(
                f'MultiTaskMetric.workers={workers} is not allowed: choose 0 '
                'or more'
            )
        self._workers = Workers(workers) if workers else None
        self._reset()

    def _reset(self) -> None:
        self._images = 0
        self._listed = dict.fromkeys(self._lists, 0)
        self._sums: dict[str, list[tuple[Measure, ExactSum]]] = {}

    def take_tasks(self, tasks: Mapping[str, Task]) -> None:
        """Score these tasks, the model's, unless others were given."""
        if not self._given:
            self._tasks = dict(tasks)

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks that are scored."""
        if self._tasks is None:
            if not self.dataset_meta or 'tasks' not in self.dataset_meta:
                raise ValueError(
                    'MultiTaskMetric does not know the tasks: give it '
                    '`tasks`, or evaluate a data set whose metainfo has them'
                )
            self._tasks = build_tasks(self.dataset_meta['tasks'])
        for name in self._lists:
            check_choice(
                'a task of MultiTaskMetric.image_lists', name, self._tasks
            )
        return self._tasks

    def _measure_cfgs(self, task: Task) -> list[dict[str, Any]]:
        return task.measure_cfgs(self.protocol)

    def scoring(self) -> dict[str, dict[str, Any]]:
        """What each task's scores mean: its measures with their settings, and
        the hash of the list of images, if one was given.
        """
        hashes = {
            name: hashlib.sha256('\n'.join(sorted(ids)).encode()).hexdigest()
            for name, ids in self._lists.items()
        }
        return {
            name: dict(
                measures=self._measure_cfgs(task), image_list=hashes.get(name)
            )
            for name, task in self.tasks.items()
        }

    def process(
        self, data_batch: object, data_samples: Sequence[dict[str, Any]]
    ) -> None:
        """Add the statistics of a batch.

        Args:
            data_batch: Not used.
            data_samples: Each with ``gt_maps`` and ``pred_maps``, task ->
                tensor ``L x H x W`` and ``P x H x W``.
        """
        del data_batch
        tasks = self.tasks
        for sample in data_samples:
            self._images += 1
            labels, preds = sample.get('gt_maps', {}), sample['pred_maps']
            listed = self._is_listed(sample)
            for name, task in tasks.items():
                if name in labels and name in preds and listed.get(name, True):
                    self._add(task, preds[name], labels[name])

    def _is_listed(self, sample: Mapping[str, Any]) -> dict[str, bool]:
        """Whether a sample is in the list of images of a task that has one."""
        if self._lists and 'sample_id' not in sample:
            raise ValueError(
                'MultiTaskMetric.image_lists needs the name of each image: '
                "keep 'sample_id' in the meta_keys of PackMultiTaskInputs"
            )
        listed = {
            name: sample['sample_id'] in ids
            for name, ids in self._lists.items()
        }
        for name, found in listed.items():
            self._listed[name] += found
        return listed

    def _add(self, task: Task, pred: Tensor, label: Tensor) -> None:
        valid = task.valid(label[None])[0]
        if task.name not in self._sums:
            measures = [
                TASK_MEASURES.build(cfg) for cfg in self._measure_cfgs(task)
            ]
            self._sums[task.name] = [(m, ExactSum()) for m in measures]
        for measure, total in self._sums[task.name]:
            # A measure of a user's own need not be a Measure.
            slow = getattr(measure, 'slow', False)
            if slow and self._workers is not None:
                self._workers.submit(total, measure, pred, label, valid)
            else:
                statistics = measure.statistics(pred, label, valid)
                total.add(statistics.cpu().numpy())

    def evaluate(self, size: int) -> dict[str, float]:
        """Pool over processes and compute.

        Args:
            size: Number of images in the data set.

        Raises:
            ValueError: Images were evaluated twice, which would bias the sums.
        """
        if self._workers is not None:
            self._workers.finish()
        totals = {
            name: [total.parts for _, total in entries]
            for name, entries in self._sums.items()
        }
        gathered = all_gather_object((self._images, self._listed, totals))
        self._reset()
        images = sum(count for count, _, _ in gathered)
        if images > size:
            raise ValueError(
                f'{images} predictions for a data set of {size} images: set '
                'sampler=dict(type="DefaultSampler", shuffle=False, '
                'round_up=False) in the val and test dataloader'
            )
        for name, ids in self._lists.items():
            found = sum(listed[name] for _, listed, _ in gathered)
            if found < len(ids):
                print_log(
                    f'image_lists.{name}: {found} of its {len(ids)} images '
                    f'are among the {images} evaluated',
                    logger='current',
                    level=logging.WARNING,
                )
        scores = self.compute_metrics([part for *_, part in gathered])
        print_log(_table(scores), logger='current')
        return scores

    def compute_metrics(
        self, results: list[dict[str, Any]]
    ) -> dict[str, float]:
        """Scores from the parts of each process's sums."""
        scores = {}
        for name, task in self.tasks.items():
            parts = [part[name] for part in results if name in part]
            values, why = {task.standing_metric: float('nan')}, 'no label'
            if parts:
                values, why = self._compute(task, parts)
            scores.update({f'{name}/{key}': v for key, v in values.items()})
            unknown = [key for key, v in values.items() if v != v]
            if unknown:
                print_log(
                    f'{why} of task {name!r} in the data evaluated: '
                    f'{", ".join(unknown)} NaN',
                    logger='current',
                    level=logging.WARNING,
                )
        if self.reference is not None:
            scores['delta_m'] = self.reference.delta_m(scores, self.tasks)
        return scores

    def _compute(
        self, task: Task, parts: list[Any]
    ) -> tuple[dict[str, float], str]:
        """The scores of a task from each process's sums, and why some of them
        may be NaN.
        """
        values: dict[str, float] = {}
        why = 'no pixel that counts'
        for cfg, sums in zip(
            self._measure_cfgs(task), zip(*parts, strict=True), strict=True
        ):
            total = ExactSum.total(sums)
            if not np.isfinite(total).all():
                why = 'infinite or NaN predictions'
            found = TASK_MEASURES.build(cfg).compute(total)
            values.update({key: float(v) for key, v in found.items()})
        return values, why


def _table(scores: dict[str, float]) -> str:
    """A table of the scores, a row a task."""
    table = PrettyTable(['task', 'scores'], align='l')
    rows: dict[str, list[str]] = {}
    for key, value in scores.items():
        task, _, metric = key.rpartition('/')
        rows.setdefault(task, []).append(f'{metric} {value:.4g}')
    for task, cells in rows.items():
        table.add_row([task, '   '.join(cells)])
    return f'\n{table}'
