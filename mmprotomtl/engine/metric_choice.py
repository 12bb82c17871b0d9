"""By which score a run chooses, and whether a higher one is better."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner

from mmprotomtl.evaluation import MultiTaskMetric
from mmprotomtl.registry import TASK_MEASURES
from mmprotomtl.tasks import Task
from mmprotomtl.utils.dist import unwrap
from mmprotomtl.utils.errors import check_choice

#: Whether a higher value is better -> mmengine's name of the rule.
RULES = {True: 'greater', False: 'less'}


def choose_by(
    runner: Runner, setting: str, key: str, rule: str | None
) -> tuple[str, str]:
    """The score that a setting of a run chooses by, and the rule.

    Args:
        runner: Whose validation loop is built.
        setting: Name of the setting, for errors.
        key: A key of the validation's scores; or ``auto``: ``delta_m`` if the
            evaluator has a ``reference``, else the metric that stands for the
            task if there is one task. Several tasks have no score in common,
            and which of them counts is not for us to choose.
        rule: ``greater`` or ``less`` (is better), or None: as the tasks say.

    Returns:
        Key and rule.

    Raises:
        ValueError: There is no validation, the validation gives no such
            score, its direction is not known or is not ``rule``, or ``auto``
            names none.
    """
    if rule is not None:
        check_choice(f'rule of {setting}', rule, RULES.values())
    if runner.val_loop is None:
        raise ValueError(
            f'{setting}={key!r} chooses by validation scores, and the run has '
            'no validation: set val_dataloader, val_evaluator and val_cfg'
        )
    known, others = _directions(runner)
    if key == 'auto':
        key = _automatic(runner, setting, known)
    if key in known:
        right = RULES[known[key]]
        if rule not in (None, right):
            raise ValueError(
                f'{setting}={key!r} with rule={rule!r} would choose the '
                f'worst: of {key}, {right} is better. Leave rule out'
            )
        return key, right
    if others and rule is not None:
        return key, rule
    text = f'{setting}={key!r} is not allowed: choose {", ".join(known)}'
    if 'delta_m' not in known and known:
        text += ', or delta_m with a val_evaluator.reference'
    if others:
        text += f'; or a score of {", ".join(others)} with a rule'
    raise ValueError(text)


def _automatic(runner: Runner, setting: str, known: Mapping[str, bool]) -> str:
    """The key that ``auto`` stands for."""
    if 'delta_m' in known:
        return 'delta_m'
    tasks = list(unwrap(runner.model).tasks.values()) if known else []
    standing = [f'{task.name}/{task.standing_metric}' for task in tasks]
    if len(standing) == 1:
        return standing[0]
    raise ValueError(
        f"{setting}='auto': {len(tasks)} tasks have no score in common. Name "
        f'one, such as {", ".join(standing)}, or set val_evaluator.reference '
        "(metrics.json of single-task runs): 'auto' is delta_m then"
    )


def _directions(runner: Runner) -> tuple[dict[str, bool], list[str]]:
    """The validation's scores, each with whether a higher one is better, and
    the names of metrics of which that is not known.
    """
    known: dict[str, bool] = {}
    others = []
    for metric in runner.val_evaluator.metrics:
        if not isinstance(metric, MultiTaskMetric):
            others.append(type(metric).__name__)
            continue
        metric.take_tasks(unwrap(runner.model).tasks)
        if metric.reference is not None:
            known['delta_m'] = True
        for name, task in metric.tasks.items():
            measures: Sequence = metric.scoring()[name]['measures']
            found = _metrics_of(task, measures)
            for key, higher in task.metric_directions.items():
                if found is None or key in found:
                    known[f'{name}/{key}'] = higher
    return known, others


def _metrics_of(task: Task, measures: Sequence[dict]) -> set[str] | None:
    """The names of the scores that measures give, from an image without a
    label; None: one of them cannot do that.
    """
    pred: Any = torch.zeros(1, task.out_channels, 8, 8)
    shape = (task.label_channels, 8, 8)
    label = torch.from_numpy(np.full(shape, task.invalid, task.label_dtype))
    names: set[str] = set()
    try:
        pred = task.predict(pred)[0]
        for cfg in measures:
            measure = TASK_MEASURES.build(cfg)
            valid = torch.zeros(8, 8, dtype=torch.bool)
            total = measure.statistics(pred, label, valid)
            names.update(measure.compute(total.cpu().numpy()))
    except Exception:  # A user's own measure; its names are believed.
        return None
    return names
