"""What makes a training run the run that it is."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner
from prettytable import PrettyTable

from mmprotomtl.datasets.unwrap import leaf_datasets
from mmprotomtl.tasks import Task, build_tasks
from mmprotomtl.utils.dist import unwrap

from .reference_check import hash_of_ids
from .seed_hook import sampler_of


class Difference(NamedTuple):
    """A setting that is not what it was."""

    setting: str
    then: Any
    now: Any


def run_settings(runner: Runner) -> dict[str, Any]:
    """The settings that define a training run.

    Not among them are those that a resumed run may change: its length and
    schedules (:class:`ScheduleHook`), loader workers, folders and logs.

    Args:
        runner: Of a training, whose parts are built.

    Returns:
        Setting -> value, made of what JSON has.
    """
    loader = runner.train_dataloader
    batch_size = batch_size_of(loader)
    counts = accumulative_counts(runner)
    sampler = sampler_of(loader)
    found: dict[str, Any] = {
        'seed': runner.seed,
        'processes': runner.world_size,
        'batch_size': batch_size,
        'accumulative_counts': counts,
        'effective_batch_size': None
        if batch_size is None
        else batch_size * counts * runner.world_size,
        'sampler': type(sampler).__name__,
        'shuffle': getattr(sampler, 'shuffle', None),
        'train_loop': type(runner.train_loop).__name__,
        'iterations_per_epoch': len(loader)
        if isinstance(runner.train_loop, EpochBasedTrainLoop)
        else None,
        'optimizer': sorted(_optimizers(runner.optim_wrapper)),
        'label_mask': _mask(getattr(loader.dataset, 'metainfo', {})),
        **_task_settings(getattr(unwrap(runner.model), 'tasks', {})),
    }
    parts = list(leaf_datasets(loader.dataset, 'train_data'))
    for place, part in parts:
        found[f'{place}.type'] = type(part).__name__
        for key in ('split', 'holdout', 'fixed_views'):
            found[f'{place}.{key}'] = getattr(part, key, None)
        derived = getattr(part, 'derived_from', None)
        found[f'{place}.derived_labels'] = derived or None
        found[f'{place}.images'] = len(part)
        found[f'{place}.ids'] = hash_of_ids(part, in_order=True)
        if len(parts) > 1:
            mask = _mask(getattr(part, 'metainfo', {}))
            found[f'{place}.label_mask'] = mask
    return json.loads(json.dumps(found, default=str))


def settings_of_old(meta: Mapping) -> dict[str, Any]:
    """As :func:`run_settings`, of a checkpoint that has no record: what the
    rest of its meta information says.
    """
    known = meta.get('dataset_meta') or {}
    found: dict[str, Any] = {}
    if meta.get('seed') is not None:
        found['seed'] = meta['seed']
    if 'tasks' in known:
        found['label_mask'] = _mask(known)
        try:
            tasks = build_tasks(known['tasks'])
        except (ValueError, TypeError, KeyError):  # Of another version.
            tasks = {}
        found.update(_task_settings(tasks))
        for key in [*found]:
            # What the data do not say, and what the run chose.
            unsaid = found[key] is None and key != 'label_mask'
            if unsaid or key.endswith('.loss_weight'):
                del found[key]
    return json.loads(json.dumps(found, default=str))


def differences(then: Mapping, now: Mapping) -> Iterator[Difference]:
    """The settings that differ.

    Args:
        then: Those of the run that wrote a checkpoint.
        now: Those of the run that goes on from it.
    """
    for setting in dict.fromkeys([*then, *now]):
        pair = then.get(setting), now.get(setting)
        if _compared(pair[0]) != _compared(pair[1]):
            yield Difference(setting, *pair)


def table(rows: Iterable[Difference]) -> str:
    """A table of differences."""
    text = PrettyTable(['setting', 'then', 'now'], align='l')
    text.max_width = 60
    for row in rows:
        text.add_row([row.setting, _shown(row.then), _shown(row.now)])
    return str(text)


def accumulative_counts(runner: Runner) -> int:
    """Over how many steps gradients are accumulated, at most."""
    wrapper = runner.optim_wrapper
    parts = (
        wrapper.values()
        if isinstance(wrapper, OptimWrapperDict)
        else [wrapper]
    )
    return max(getattr(part, '_accumulative_counts', 1) for part in parts)


def batch_size_of(loader: Any) -> int | None:
    """Images in a step of one process; None: that varies."""
    if loader.batch_size is not None:
        return loader.batch_size
    return getattr(loader.batch_sampler, 'batch_size', None)


def _optimizers(wrapper: Any) -> Iterator[str]:
    """Names of the optimizers and of what wraps them, which says with what
    precision a step is computed.
    """
    if isinstance(wrapper, OptimWrapperDict):
        for part in wrapper.values():
            yield from _optimizers(part)
    else:
        optimizer = type(wrapper.optimizer).__name__
        yield f'{optimizer} in {type(wrapper).__name__}'


def _task_settings(tasks: Mapping[str, Task]) -> dict[str, Any]:
    found: dict[str, Any] = {'tasks': list(tasks)}
    for name, task in tasks.items():
        for key, value in task.meaning().items():
            found[f'tasks.{name}.{key}'] = value
        found[f'tasks.{name}.loss_weight'] = task.loss_weight
        found[f'tasks.{name}.guide_weight'] = task.guide_weight or None
    return found


def _mask(metainfo: Mapping) -> dict[str, Any] | None:
    """What is compared and shown of a label mask."""
    mask = metainfo.get('label_mask')
    if not mask:
        return None
    return {key: mask.get(key) for key in ('protocol', 'seed', 'sha256')}


def _compared(value: Any) -> Any:
    """Masks are the same if their labels are, drawn or read from a file."""
    if isinstance(value, Mapping) and 'sha256' in value:
        return value['sha256']
    return value


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ', '.join(f'{k} {str(v)[:20]}' for k, v in value.items())
    if isinstance(value, list):
        return ', '.join(map(str, value))
    return '-' if value is None else str(value)
