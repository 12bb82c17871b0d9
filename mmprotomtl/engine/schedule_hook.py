"""The learning rate follows the length of the run."""

import numbers
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict, _ParamScheduler
from mmengine.runner import BaseLoop, IterBasedTrainLoop, Runner

from mmprotomtl.registry import HOOKS

from .run_length import LENGTHS, each_scheduler

#: What of a scheduler's state is no setting but moves during a run.
_MOVING = {
    'last_step', '_global_step', '_last_value', 'verbose', 'best',
    'num_bad_epochs', 'cooldown_counter', 'rule_worse',
}  # fmt: skip


@HOOKS.register_module()
class ScheduleHook(Hook):
    """Lets the schedules of ``param_scheduler`` end with the run.

    Before the first step it refuses a schedule that comes to a learning rate
    of 0 before the run ends, or that would end after it.

    mmengine's schedulers take the settings of the run that wrote a checkpoint
    with its state. Where a resumed run has others (its length, the learning
    rate), these act: each learning rate is set to what the new schedule has
    after as many steps, and the log says so. A run with the same settings
    goes on as it was.

    Args:
        allow_other_length: Run with a schedule of another length than the
            run's.
    """

    priority = 'VERY_HIGH'

    def __init__(self, allow_other_length: bool = False) -> None:
        self.allow_other_length = allow_other_length

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Bring the state of a checkpoint to this run's schedule.

        Raises:
            ValueError: The checkpoint lacks the state of optimizer and
                schedules, it was written by a run with other epochs, or the
                schedule is another one and can't be taken so far.
        """
        if not runner._resume or not isinstance(runner._train_loop, BaseLoop):
            return
        _check_resumable(runner, checkpoint)
        if runner.param_schedulers is None:
            return
        for part in _by_optimizer(runner, checkpoint):
            part.follow(runner, checkpoint['meta'])

    def before_train(self, runner: Runner) -> None:
        """Check where the schedules end.

        Raises:
            ValueError: One ends before or after the run.
        """
        if not self.allow_other_length:
            for name, problem in _wrong_ends(runner):
                raise ValueError(
                    f'{name}: {problem}. Leave `end`, T_max and total_steps '
                    'out there: the schedule then ends with the run, whatever '
                    'its length. Or set default_hooks.schedule.'
                    'allow_other_length=True'
                )


def _check_resumable(runner: Runner, checkpoint: dict) -> None:
    """Check that a run can go on from a checkpoint.

    Raises:
        ValueError: It lacks a state, or its epochs have another length.
    """
    needed = ['optimizer']
    if runner.param_schedulers is not None:
        needed.append('param_schedulers')
    missing = [key for key in needed if key not in checkpoint]
    if missing:
        raise ValueError(
            f'{runner._load_from}: it has no state of {" and ".join(missing)} '
            '(best_* checkpoints have none), so that a run can not go on from '
            'it. Resume from an epoch_*.pth or iter_*.pth, or begin a new run '
            'with its weights (load_from and no --resume)'
        )
    if isinstance(runner.train_loop, IterBasedTrainLoop):
        return
    epoch, done = checkpoint['meta']['epoch'], checkpoint['meta']['iter']
    length = len(runner.train_dataloader)
    if not epoch * length <= done <= (epoch + 1) * length:
        raise ValueError(
            f'{runner._load_from}: {done} iterations were {epoch} epochs of '
            f'the run that wrote it, but an epoch has {length} iterations '
            'now. Set batch_size, number of processes and data as they were, '
            'or begin a new run with its weights (load_from and no --resume)'
        )


def _wrong_ends(runner: Runner) -> Iterator[tuple[str, str]]:
    """Schedules that do not end with the run: place and what is wrong."""
    found = [
        (place, scheduler)
        for place, scheduler in each_scheduler(runner.param_schedulers)
        if isinstance(scheduler, _ParamScheduler)
    ]
    for place, scheduler in found:
        kind = type(scheduler).__name__
        unit = 'epochs' if scheduler.by_epoch else 'iterations'
        length = runner.max_epochs if scheduler.by_epoch else runner.max_iters
        if scheduler.by_epoch and isinstance(
            runner.train_loop, IterBasedTrainLoop
        ):
            yield (
                place,
                f'{kind} counts epochs, which a run of {runner.max_iters} '
                'iterations has not: set by_epoch=False and take out '
                'convert_to_iter_based',
            )
            continue
        end = scheduler.end
        lasts = [getattr(scheduler, key, None) for key in LENGTHS]
        shaped = [scheduler.begin + last for last in lasts if last]
        if hasattr(scheduler, 'total_iters'):
            shaped.append(end)
        run = f'the run has {length} {unit}'
        if scheduler.begin >= length:
            yield place, f'{kind} begins after {scheduler.begin} {unit}, {run}'
        elif shaped and max(shaped) > length:
            yield place, f'{kind} ends after {max(shaped)} {unit}, {run}'
        elif end < length and _ends_at_zero(scheduler):
            later = [
                other
                for _, other in found
                if other.begin >= end
                and other.optimizer is scheduler.optimizer
                and other.param_name == scheduler.param_name
            ]
            if not later:
                yield (
                    place,
                    f'{kind} ends after {end} {unit} with '
                    f'{scheduler.param_name} 0, {run}',
                )


def _ends_at_zero(scheduler: _ParamScheduler) -> bool:
    if getattr(scheduler, 'eta_min_ratio', None):
        return False
    last = getattr(scheduler, 'eta_min', getattr(scheduler, 'end_factor', 1))
    return last == 0


class _Part(NamedTuple):
    """What belongs to one optimizer, of the run and of its checkpoint."""

    place: str
    optimizer: Any
    schedulers: list[_ParamScheduler]
    #: The checkpoint's, which is changed in place.
    states: list[dict]
    optimizer_state: dict

    def differing(self) -> dict[int, dict[str, tuple]]:
        """Scheduler's number -> setting -> the checkpoint's and the run's."""
        found = {}
        for number, (scheduler, state) in enumerate(
            zip(self.schedulers, self.states, strict=True)
        ):
            ours = {
                key: (state[key], value)
                for key, value in scheduler.state_dict().items()
                if key in state
                and key not in _MOVING
                and isinstance(value, (numbers.Number, str, list, tuple, dict))
                and state[key] != value
            }
            if ours:
                found[number] = ours
        return found

    def follow(self, runner: Runner, meta: dict) -> None:
        """Set the checkpoint's states to those of the run's schedule.

        Raises:
            ValueError: It can't be known what these are.
        """
        said = f'{self.place} has {len(self.schedulers)} schedulers and not '
        said += f'{len(self.states)}'
        changed: dict[int, dict[str, tuple]] = {}
        as_many = len(self.states) == len(self.schedulers)
        if as_many:
            changed = self.differing()
            if not changed:
                return
            said = ', '.join(
                f'{self.place}.{number}: {key} {ours!r} and not {theirs!r}'
                for number, settings in changed.items()
                for key, (theirs, ours) in settings.items()
            )
        plateaus = {
            number
            for number, scheduler in enumerate(self.schedulers)
            if getattr(scheduler, 'need_val_args', False)
        }
        if as_many and set(changed) <= plateaus:
            # They go by scores: the new settings act from here on.
            for number, settings in changed.items():
                for key, (_, ours) in settings.items():
                    self.states[number][key] = ours
            then = 'this acts from here on'
        elif plateaus:
            raise ValueError(
                f'resumed with other schedules: {said}. What the learning '
                'rate would be by now depends on earlier validations, by '
                f'{self.place}.{min(plateaus)}. Keep the settings of the '
                'checkpoint, or begin a new run with its weights (load_from '
                'and no --resume)'
            )
        else:
            then = self._replay(meta, len(runner.train_dataloader))
        runner.logger.warning(f'resumed with other schedules: {said}; {then}')

    def _replay(self, meta: dict, epoch_length: int) -> str:
        """Take the run's schedulers as many steps as the checkpoint's have
        done, and replace its states by theirs.

        Returns:
            What the values are now, and were.
        """
        _step(self.schedulers, meta, epoch_length)
        names = sorted({scheduler.param_name for scheduler in self.schedulers})
        keys = [*names, *(f'initial_{name}' for name in names)]
        if 'momentum' in names:
            keys.append('betas')
        groups = [*self.optimizer_state['param_groups']]
        if self.optimizer_state.get('base_param_settings') is not None:
            groups.append(self.optimizer_state['base_param_settings'])
        before = [groups[0].get(name) for name in names]
        for ours, theirs in zip(
            self.optimizer.param_groups, groups, strict=True
        ):
            theirs.update({key: ours[key] for key in keys if key in ours})
        self.states[:] = [s.state_dict() for s in self.schedulers]
        return ', '.join(
            f'{name} is now {groups[0].get(name)}, in the checkpoint {value}'
            for name, value in zip(names, before, strict=True)
        )


def _step(
    schedulers: list[_ParamScheduler], meta: dict, epoch_length: int
) -> None:
    """Take new schedulers as many steps as a checkpoint's run has done."""
    epochs = 0
    with warnings.catch_warnings():
        # "step of a scheduler before that of the optimizer"
        warnings.simplefilter('ignore')
        for iteration in range(1, meta['iter'] + 1):
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
            if iteration % epoch_length or epochs == meta['epoch']:
                continue
            epochs += 1
            for scheduler in schedulers:
                if scheduler.by_epoch:
                    scheduler.step()


def _by_optimizer(runner: Runner, checkpoint: dict) -> Iterator[_Part]:
    """The schedulers that a training run has built, for each optimizer."""
    place, built = 'param_scheduler', runner.param_schedulers
    states, optimizer = checkpoint['param_schedulers'], runner.optim_wrapper
    if isinstance(built, list) and isinstance(states, list):
        parts = [(place, optimizer, built, states, checkpoint['optimizer'])]
    elif isinstance(optimizer, OptimWrapperDict) and isinstance(states, dict):
        parts = [
            (f'{place}.{name}', optimizer[name], schedulers, states[name],
             checkpoint['optimizer'][name])
            for name, schedulers in built.items()
        ]  # fmt: skip
    else:
        return
    for part in parts:
        if all(isinstance(item, _ParamScheduler) for item in part[2]):
            yield _Part(*part)
