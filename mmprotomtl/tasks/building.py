"""Task objects from a config's ``tasks``."""

import inspect
from collections.abc import Mapping
from typing import Any

from mmprotomtl.registry import TASKS
from mmprotomtl.utils.errors import check_choice

from .base import Task

#: Arguments of the tasks, as a config has them: name -> arguments.
TaskArgs = Mapping[str, Mapping[str, Any] | None]


def build_tasks(
    cfg: Mapping[str, Mapping[str, Any] | Task | None],
) -> dict[str, Task]:
    """Build the tasks of a config, in the order of their names.

    mmengine sorts the keys of a config that it stores in a checkpoint. Were
    the order of the config the order of the network's branches, a network
    built from a checkpoint would have them exchanged.

    Args:
        cfg: Name -> arguments of the task; ``type`` defaults to the name. A
            task object stays as it is.

    Raises:
        ValueError: There is no task, a name is unknown and has no ``type``,
            or an argument is none of the task's.
        TypeError: The class of a task lacks a required method.
    """
    check_form('tasks', cfg)
    tasks = {}
    for name, args in sorted(cfg.items()):
        if isinstance(args, Task):
            tasks[name] = args
            continue
        args = {'type': name, **(args or {}), 'name': name}
        cls = task_class(name, args)
        missing = sorted(getattr(cls, '__abstractmethods__', ()))
        if missing:
            raise TypeError(
                f'tasks.{name}: {cls.__name__} is no complete task, it lacks '
                f'{", ".join(missing)}; see mmprotomtl.tasks.Task'
            )
        allowed = ('type', *cls.settings())
        for key in args:
            if key != 'name':
                check_choice(f'tasks.{name}: setting', key, allowed)
        tasks[name] = TASKS.build(args)
    return tasks


def check_form(key: str, given: object, names: bool = False) -> None:
    """Check that tasks are a dict of names and arguments.

    Args:
        key: Where the config has them, for the error message.
        given: What it has there.
        names: Whether a list of names will do, and none at all.

    Raises:
        ValueError: They are not.
    """
    if isinstance(given, Mapping) and (given or names):
        for name, args in given.items():
            if args is not None and not isinstance(args, (Mapping, Task)):
                raise ValueError(
                    f'{key}.{name}={args!r} is not allowed: give a dict of '
                    "the task's settings, for example "
                    f'{key}.{name}.loss_weight=0.5'
                )
    elif not (names and isinstance(given, (list, tuple, set))):
        raise ValueError(
            f'{key}={given!r} is not allowed: give a dict of at least one '
            'task, for example tasks=dict(semseg=dict(num_classes=13), '
            'depth=dict())'
        )


def needs_rays(tasks: Mapping[str, Task]) -> bool:
    """Whether a task learns from labels of others by the camera's rays."""
    return any(task.guide_weight for task in tasks.values())


def task_class(name: str, args: Mapping[str, Any]) -> type[Task]:
    """The class of a task.

    Args:
        name: Its key in the config's ``tasks``.
        args: Its arguments; ``type`` defaults to the name.

    Raises:
        ValueError: No such task is registered.
    """
    kind = args.get('type', name)
    cls = TASKS.get(kind) if isinstance(kind, str) else kind
    if not (inspect.isclass(cls) and issubclass(cls, Task)):
        raise ValueError(
            f'tasks.{name}.type={kind!r} is not a registered task: choose one '
            f'of {sorted(TASKS.module_dict)}, or register your own in '
            'mmprotomtl.registry.TASKS'
        )
    return cls


def complete_args(
    name: str,
    args: Mapping[str, Any] | None,
    facts: Mapping[str, Any],
    source: str,
) -> dict[str, Any]:
    """The arguments of a task, completed by what is known of a data set.

    Args:
        name: The task.
        args: Its arguments in a config.
        facts: What the files of a data set say of it: ``num_classes`` and so
            on, arguments too.
        source: The data set, for the error.

    Returns:
        All arguments; those of the config first.

    Raises:
        ValueError: The config contradicts what a label's values mean in the
            files.
    """
    args = dict(args or {})
    cls = task_class(name, {**facts, **args})
    for key in ('type', *cls.label_settings):
        if args.get(key) is None:
            args.pop(key, None)
        elif key in facts and plain(args[key]) != plain(facts[key]):
            raise ValueError(
                f'tasks.{name}.{key}={args[key]!r} contradicts the files of '
                f'{source}, where it is {facts[key]!r}: leave it out of '
                f'tasks.{name}'
            )
    return {**facts, **args}


def plain(value: object) -> object:
    """A config's value with lists for tuples and dicts for configs, so that
    equal values compare equal.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
