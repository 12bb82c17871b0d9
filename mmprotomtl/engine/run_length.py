"""The length of a run is said once, in ``train_cfg``."""

from collections.abc import Iterator, Mapping
from typing import Any

#: A ``val_interval`` longer than any run: validation once, at the end.
ONLY_AT_THE_END = 10**9
#: Settings of schedulers that are the number of steps that they last.
LENGTHS = ('T_max', 'total_steps')


def check_length_options(options: Mapping[str, Any]) -> None:
    """Check that the length of a run is not given twice.

    Args:
        options: ``--cfg-options``: dotted key -> value.

    Raises:
        ValueError: It is, by different values.
    """
    for name in ('max_epochs', 'max_iters'):
        place = f'train_cfg.{name}'
        short, full = options.get(name), options.get(place)
        if None not in (short, full) and short != full:
            raise ValueError(
                f'{name}={short!r} and {place}={full!r} are the same setting: '
                'give one of them'
            )


def leave_out_copies(cfg: Any) -> None:
    """Take the copies of the run's length out of a config, so that they
    follow it: an ``end`` of a scheduler (or its ``T_max``, ``total_steps``)
    that is the end of the run, and a ``val_interval`` as long as the run.

    mmengine ends a scheduler without ``end`` with the run, and validates
    after the last epoch whatever the interval.

    Args:
        cfg: The config of a run, changed in place.
    """
    train_cfg = cfg.get('train_cfg') or {}
    for _, scheduler in each_scheduler(cfg.get('param_scheduler')):
        if not isinstance(scheduler, dict):
            continue
        unit = 'epochs' if scheduler.get('by_epoch', True) else 'iters'
        length = train_cfg.get(f'max_{unit}')
        if length is None or scheduler.get('end', length) != length:
            continue
        scheduler.pop('end', None)
        for key in LENGTHS:
            if scheduler.get(key) == length - scheduler.get('begin', 0):
                del scheduler[key]
    unit = 'iters' if by_iterations(train_cfg) else 'epochs'
    length = train_cfg.get(f'max_{unit}')
    interval = train_cfg.get('val_interval')
    # 1 says "after each epoch", also in a run of one.
    if interval is not None and interval == length and interval > 1:
        train_cfg['val_interval'] = ONLY_AT_THE_END


def settle_run_by_iterations(cfg: Any) -> None:
    """What follows from training that is counted in iterations
    (``train_cfg.by_epoch=False`` or an ``IterBasedTrainLoop``): logs count
    them, too, unless they say otherwise, and ``max_epochs`` of an inherited
    config goes.

    Args:
        cfg: The config of a run, changed in place.
    """
    train_cfg = cfg.get('train_cfg') or {}
    if not by_iterations(train_cfg):
        return
    if train_cfg.get('max_iters') is not None:
        train_cfg.pop('max_epochs', None)
    processor = dict(cfg.get('log_processor') or {})
    cfg['log_processor'] = dict(by_epoch=False) | processor
    logger = (cfg.get('default_hooks') or {}).get('logger')
    if logger is not None:
        logger.setdefault('log_metric_by_epoch', False)


def by_iterations(train_cfg: Mapping) -> bool:
    """Whether a run is counted in iterations and not in epochs."""
    kind = train_cfg.get('type')
    if kind is None:
        return train_cfg.get('by_epoch') is False
    name = getattr(kind, '__name__', str(kind)).split('.')[-1]
    return name == 'IterBasedTrainLoop'


def each_scheduler(
    given: Any, place: str = 'param_scheduler'
) -> Iterator[tuple[str, Any]]:
    """The schedulers of a config or of a runner, each with its place.

    Args:
        given: ``param_scheduler``: one, a list, or optimizer -> one or list;
            settings or built schedulers.
        place: Where it is in the config.
    """
    if isinstance(given, (list, tuple)):
        for number, item in enumerate(given):
            yield from each_scheduler(item, f'{place}.{number}')
    elif isinstance(given, Mapping) and 'type' not in given:
        for name, item in given.items():
            yield from each_scheduler(item, f'{place}.{name}')
    elif given is not None:
        yield place, given
