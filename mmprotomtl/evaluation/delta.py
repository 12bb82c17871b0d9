"""The gain over single-task networks, in percent: delta_m."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mmengine.logging import print_log

from mmprotomtl.utils.errors import DataFileError


class Standing(Protocol):
    """What is asked of a :class:`mmprotomtl.tasks.Task` here."""

    standing_metric: str

    @property
    def higher_is_better(self) -> bool:
        """Of the standing metric."""


#: What a ``reference`` may be: a file, files, or task -> file.
ReferenceFiles = str | Sequence[str] | Mapping[str, str]


def read_report(path: str | Path) -> dict[str, Any]:
    """A ``metrics.json`` that ``tools/test.py`` wrote.

    Raises:
        DataFileError: It is missing or no such file.
    """
    try:
        report = json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise DataFileError(
            str(path), 'no such file; tools/test.py writes one (metrics.json)'
        ) from error
    except (OSError, ValueError) as error:
        raise DataFileError(str(path), f'not JSON ({error})') from error
    if not isinstance(report, dict) or not isinstance(
        report.get('metrics'), dict
    ):
        raise DataFileError(
            str(path),
            'no "metrics" in it: expected the metrics.json of tools/test.py',
        )
    return report


def facts(report: Mapping[str, Any]) -> dict[str, Any]:
    """What two results must share to be compared: how and on what they were
    tested, labels, seed.

    Args:
        report: What a ``metrics.json`` holds.
    """
    data = report.get('test_data') or {}
    used = report.get('labels_used') or {}
    mask = report.get('label_mask')
    # Every label is every label, over however many tasks it was written down.
    if mask is None or mask['protocol'] == 'full':
        labels = 'full'
    else:
        labels = mask['sha256']
    return {
        'test_data.type': data.get('type'),
        'test_data.split': data.get('split'),
        'test_data.holdout': data.get('holdout'),
        'test_data.images': data.get('images'),
        'test_data.ids': data.get('ids'),
        'protocol': report.get('protocol'),
        'label_mask.sha256': labels,
        'seed': report.get('seed'),
        **{
            f'label_mask.used.{task}': number
            for task, number in (used.get('labels') or {}).items()
        },
        **{
            f'label_mask.derived.{task}': (used.get('derived') or {}).get(
                task, 0
            )
            for task in used.get('labels') or {}
        },
        **{
            # As JSON has it, which knows no tuples.
            f'scoring.{task}': json.loads(json.dumps(how))
            for task, how in (report.get('scoring') or {}).items()
        },
    }


def differing(
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    skip: Sequence[str] = (),
) -> dict[str, tuple[Any, ...]]:
    """The facts in which two results differ, each with both values.

    How a task is scored, and how many labels of it were trained on, is
    compared where both have it.

    Args:
        first: What a ``metrics.json`` holds.
        second: Another.
        skip: Groups of facts that may differ: ``seed``, ``label_mask``.
    """
    one, other = facts(first), facts(second)
    return {
        key: (value, other[key])
        for key, value in one.items()
        if key in other
        and value != other[key]
        and key.split('.')[0] not in skip
    }


class Reference:
    """The single-task results that ``delta_m`` is relative to.

    ``delta_m`` is the mean over tasks of the signed relative change of the
    metric that stands for the task, in percent; a positive one is a better
    network (Maninis et al., "Attentive Single-Tasking of Multiple Tasks").

    Args:
        files: ``metrics.json`` of single-task runs: one file, a list, or task
            -> file.
    """

    def __init__(self, files: ReferenceFiles) -> None:
        self._of_task: dict[str, str] = {}
        if isinstance(files, Mapping):
            self._of_task = {task: str(file) for task, file in files.items()}
            files = list(files.values())
        elif isinstance(files, (str, Path)):
            files = [str(files)]
        self.files = list(dict.fromkeys(str(file) for file in files))
        self.reports = {file: read_report(file) for file in self.files}

    def check(self, report: Mapping[str, Any]) -> None:
        """Check that a result may be compared with the reference.

        Args:
            report: Its facts, as in a ``metrics.json``.

        Raises:
            ValueError: Test data, labels or seed differ; names the file, the
                key and both values.
        """
        for file, theirs in self.reports.items():
            for key, (value, ours) in differing(theirs, report).items():
                raise ValueError(
                    f'{file} is no reference for this run: its {key} is '
                    f'{value!r}, that of this run is {ours!r}'
                )

    def value(self, task: str, metric: str) -> float:
        """The reference's value of a task's metric.

        Raises:
            ValueError: None of the files has it, or several have.
        """
        key = f'{task}/{metric}'
        files = [self._of_task[task]] if task in self._of_task else self.files
        found = {
            file: self.reports[file]['metrics'][key]
            for file in files
            if self.reports[file]['metrics'].get(key) is not None
        }
        if len(found) != 1:
            raise ValueError(
                f'reference: {len(found)} of {files} have a value of {key}; '
                'give one metrics.json of a single-task run for each task'
            )
        (value,) = found.values()
        if value == 0:
            raise ValueError(
                f'reference: {next(iter(found))} has {key} = 0: there is no '
                'change relative to it'
            )
        return float(value)

    def delta_m(
        self, scores: Mapping[str, float], tasks: Mapping[str, Standing]
    ) -> float:
        """The mean relative change in percent.

        Args:
            scores: ``<task>/<metric>`` -> value.
            tasks: The tasks; each says which metric stands for it, and
                whether higher is better.

        Returns:
            NaN if a task has no score.
        """
        base = {
            f'{name}/{task.standing_metric}': self.value(
                name, task.standing_metric
            )
            for name, task in tasks.items()
        }
        result = mean_change(scores, base, tasks)
        if result != result:
            print_log(
                'delta_m is NaN: a task has no score',
                logger='current',
                level=logging.WARNING,
            )
        return result


def mean_change(
    scores: Mapping[str, float | None],
    base: Mapping[str, float],
    tasks: Mapping[str, Standing],
) -> float:
    """The mean over tasks of the signed relative change, in percent.

    Args:
        scores: ``<task>/<metric>`` -> value.
        base: The values that the change is relative to.
        tasks: The tasks; each says which metric stands for it, and whether
            higher is better.

    Returns:
        NaN if a task has no score, or there is no change relative to 0.
    """
    changes = []
    for name, task in tasks.items():
        key = f'{name}/{task.standing_metric}'
        own = scores[key]
        own = float('nan') if own is None else own
        sign = 1 if task.higher_is_better else -1
        size = abs(base[key]) or float('nan')
        changes.append(100 * sign * (own - base[key]) / size)
    return sum(changes) / len(changes)
