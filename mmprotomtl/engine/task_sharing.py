"""The tasks of a config: said once, and handed to all that need them."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mmengine.config import ConfigDict

from mmprotomtl.datasets import MultiTaskDataset
from mmprotomtl.datasets.transforms import PartialAnnotation
from mmprotomtl.datasets.transforms.partial_annotation import is_step
from mmprotomtl.datasets.unwrap import leaf_datasets
from mmprotomtl.label_masks import PROTOCOLS
from mmprotomtl.registry import DATASETS
from mmprotomtl.tasks import (
    build_tasks,
    check_form,
    complete_args,
    plain,
    task_class,
)
from mmprotomtl.utils.errors import check_choice

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
#: What else in a config may name the tasks that it scores or draws.
USERS = ('val_evaluator', 'test_evaluator', 'visualizer')
#: Place in a config -> the tasks that it names, fewer than all maybe.
Named = dict[str, list[str]]


class Place(NamedTuple):
    """A part of a config that has tasks: a data set below its wrappers, the
    model, an evaluator, the visualizer.
    """

    #: Where it is: ``train_dataloader.dataset.datasets.0``.
    name: str
    cfg: Any
    #: The class of a data set of ours.
    cls: type[MultiTaskDataset] | None = None
    #: Whether it may name some of the tasks alone, as one of several data sets
    #: that are concatenated may.
    some: bool = False

    @property
    def source(self) -> str:
        """Its name and class, for errors."""
        return f'{self.name} ({self.cls.__name__})' if self.cls else self.name

    def facts(self, named: Named) -> Mapping[str, dict]:
        """What the files of a data set say of the tasks it is used for.

        Raises:
            ValueError: It names a task that it has no labels of.
        """
        if self.cls is None:
            return {}
        known = self.cls.task_facts(self.cfg)
        names = named.get(self.name, known)
        for name in names:
            if name not in known:
                raise ValueError(_no_labels(name, [self.source], known))
        return {name: known[name] for name in known if name in names}


def data_places(cfg: Any) -> list[Place]:
    """The data sets of a run's config, those in wrappers too."""
    found: list[Place] = []
    for loader in LOADERS:
        dataset = (cfg.get(loader) or {}).get('dataset')
        for name, part in leaf_datasets(dataset, f'{loader}.dataset'):
            if not isinstance(part, Mapping):
                continue
            cls = part.get('type')
            cls = DATASETS.get(cls) if isinstance(cls, str) else cls
            ours = isinstance(cls, type) and issubclass(cls, MultiTaskDataset)
            joined = '.datasets.' in name
            found.append(Place(name, part, cls if ours else None, joined))
    return found


def _other_places(cfg: Any) -> Iterator[Place]:
    """Model, evaluators and visualizer."""
    if isinstance(cfg.get('model'), Mapping):
        yield Place('model', cfg['model'])
    for key in USERS:
        given = cfg.get(key)
        if isinstance(given, Mapping):
            yield Place(key, given, some=True)
        elif isinstance(given, (list, tuple)):
            for number, item in enumerate(given):
                if isinstance(item, Mapping):
                    yield Place(f'{key}.{number}', item, some=True)


def take_copies(cfg: Any, named: Named | None = None) -> Named:
    """Take the copies of ``tasks`` out of a config, if they agree with it.

    Args:
        cfg: The config, changed in place. One without ``tasks`` at its top
            level gets the model's.
        named: What this returned for the file, if options have been merged
            into it since: copies then name just what they set.

    Returns:
        The tasks that data sets in a concatenation, evaluators and visualizer
        are used for, where they name them.

    Raises:
        ValueError: A copy differs.
    """
    whole = named is None
    named = {} if named is None else named
    data = data_places(cfg)
    places = [*_other_places(cfg), *data]
    copies = [p for p in places if p.cfg.get('tasks') is not None]
    for place in copies:
        check_form(f'{place.name}.tasks', place.cfg['tasks'], names=True)
    if not copies:
        return named
    if whole:
        for place in copies:
            if place.some or (place.cls is None and place in data):
                named[place.name] = list(place.cfg['tasks'])
    origin = 'tasks'
    if cfg.get('tasks') is None:
        origin = _take_from_copies(cfg, copies)
    check_form(origin, cfg['tasks'])
    if origin == 'tasks' and whole and cfg.get('only_task') is None:
        _leave_out_unused(cfg, data)
    tasks = complete_tasks(cfg, named)
    names = set(run_names(cfg))
    for place in copies:
        found = place.cfg['tasks']
        missing = names - set(found) if whole and not place.some else set()
        if missing or set(found) - set(tasks):
            raise ValueError(
                f'{place.name}.tasks names {sorted(found)}, but {origin} '
                f'names {sorted(names)}: leave {place.name}.tasks out, and '
                'set tasks at the top level of the config (only_task='
                "'depth' there for a run of one of them)"
            )
        if isinstance(found, Mapping):
            _compare(place.name, found, tasks, origin)
        del place.cfg['tasks']
    if whole and cfg.get('only_task') is not None:
        for place in data:
            _undo_single_task(place, tasks, named)
    return named


def _take_from_copies(cfg: Any, copies: list[Place]) -> str:
    """Set a config's ``tasks`` from the copies in it, the model's if there is
    one, and say whose they are.
    """
    first = next((p for p in copies if p.name == 'model'), None)
    if first is not None:
        cfg['tasks'] = copy.deepcopy(first.cfg['tasks'])
        return 'model.tasks'
    tasks: dict[str, Any] = {}
    for place in copies:
        if isinstance(place.cfg['tasks'], Mapping):
            for name, args in place.cfg['tasks'].items():
                tasks.setdefault(name, copy.deepcopy(args))
    cfg['tasks'] = tasks
    return f'{copies[0].name}.tasks'


def _leave_out_unused(cfg: Any, data: list[Place]) -> None:
    """Keep of ``tasks`` those that model and all data sets name, where they
    name the same fewer ones: so single-task configs were written before
    ``only_task``.
    """
    names = set((cfg.get('model') or {}).get('tasks') or ())
    if not names < set(cfg['tasks']) or not data:
        return
    for place in data:
        found = set(place.cfg.get('tasks') or ())
        if not found or not (found <= names if place.some else found == names):
            return
    cfg['tasks'] = {n: args for n, args in cfg['tasks'].items() if n in names}


def _compare(
    place: str, found: Mapping, tasks: Mapping[str, dict], origin: str
) -> None:
    """Compare a copy with the run's tasks.

    Raises:
        ValueError: They differ.
    """
    for name, args in found.items():
        for key, value in (args or {}).items():
            ours = {'type': name, **tasks[name]}
            if key in ours and plain(value) == plain(ours[key]):
                continue
            said = f'is {ours[key]!r}' if key in ours else 'is not set'
            raise ValueError(
                f'{place}.tasks.{name}.{key}={value!r}, but '
                f'{origin}.{name}.{key} {said}: set tasks.{name}.{key} at the '
                'top level of the config, where it acts on model, data, '
                f'scores and pictures, and leave {place}.tasks out'
            )


def run_names(cfg: Any) -> list[str]:
    """The tasks that a run learns: all of the config's, or ``only_task``.

    Raises:
        ValueError: ``only_task`` is none of the config's tasks.
    """
    only = cfg.get('only_task')
    if only is None:
        return list(cfg['tasks'])
    check_choice('only_task', only, cfg['tasks'])
    return [only]


def complete_tasks(cfg: Any, named: Named) -> dict[str, dict]:
    """The config's tasks with the facts of the data sets' files.

    Raises:
        ValueError: A setting contradicts the files, is unknown or not
            allowed, or two data sets mean different things by a task.
    """
    check_form('tasks', cfg['tasks'])
    known = [(place, place.facts(named)) for place in data_places(cfg)]
    tasks = {}
    for name, args in cfg['tasks'].items():
        facts: dict[str, Any] = {}
        said: dict[str, str] = {}
        for place, of_task in known:
            ours = of_task.get(name, {})
            cls = task_class(name, {**ours, **(args or {})})
            for key, value in ours.items():
                meant = key in ('type', *cls.label_settings)
                if meant and plain(facts.get(key, value)) != plain(value):
                    raise ValueError(
                        f'tasks.{name}.{key} is {facts[key]!r} in {said[key]} '
                        f'but {value!r} in {place.source}: one network cannot '
                        'learn both under one name'
                    )
                facts.setdefault(key, value)
                said.setdefault(key, place.source)
        source = ', '.join(
            place.source for place, of_task in known if name in of_task
        )
        tasks[name] = complete_args(name, args, facts, source)
    build_tasks(tasks)  # Refuses what is not allowed.
    return tasks


def hand_over(cfg: Any, named: Named) -> None:
    """Hand the tasks of a config without copies to model and data sets.

    Args:
        cfg: The config, changed in place.
        named: What :func:`take_copies` returned.

    Raises:
        ValueError: See :func:`complete_tasks`; or a data set lacks a task,
            or one to score on derives labels.
    """
    data = data_places(cfg)
    _check_derived(data)
    if cfg.get('tasks') is None:
        return
    tasks = complete_tasks(cfg, named)
    run = {name: tasks[name] for name in run_names(cfg)}
    _check_labels(run, data, named)
    cfg['tasks'] = tasks
    for place in (*_other_places(cfg), *data):
        names: Any = place.facts(named) if place.cls else None
        if place.name == 'model':
            names = run
        elif names is None:
            names = named.get(place.name)
        if names is None:
            continue
        if place.cls and cfg.get('only_task') is not None:
            _set_single_task(place, tasks, named)
        place.cfg['tasks'] = ConfigDict(
            {n: copy.deepcopy(args) for n, args in run.items() if n in names}
        )
    for loader in LOADERS:
        inner = (cfg.get(loader) or {}).get('dataset')
        if isinstance(inner, Mapping):
            _leave_out_empty(inner)


def _check_derived(data: list[Place]) -> None:
    """Check that only labels to train on are derived from others.

    Raises:
        ValueError: Others are, too.
    """
    for place in data:
        loader = place.name.split('.')[0]
        if place.cfg.get('derived_labels') and loader != LOADERS[0]:
            raise ValueError(no_scores(place.name))


def _check_labels(run: Mapping, data: list[Place], named: Named) -> None:
    """Check that each loader's data sets have labels of the run's tasks.

    Raises:
        ValueError: One of them has not.
    """
    found: dict[str, tuple[set, list[str]]] = {}
    for place in data:
        loader = place.name.split('.')[0]
        known, sources = found.setdefault(
            loader if place.some else place.name, (set(), [])
        )
        known.update(place.facts(named) if place.cls else run)
        sources.append(place.source)
    for known, sources in found.values():
        for name in run:
            if name not in known:
                raise ValueError(_no_labels(name, sources, sorted(known)))


def no_scores(place: str) -> str:
    """The message that labels to score on are not to be derived.

    Args:
        place: Where the data set is in the config.
    """
    return (
        f'{place}.derived_labels is not allowed: scores on labels that are '
        'derived from others are no scores; set it in train_dataloader alone'
    )


def _no_labels(name: str, sources: list[str], known: Any) -> str:
    return (
        f'tasks.{name}: {", ".join(sources)} has no labels of it; it has '
        f'{", ".join(known)}'
    )


def _leave_out_empty(cfg: Any) -> None:
    """Take data sets without labels of the task out of a concatenation."""
    if isinstance(cfg.get('dataset'), Mapping):
        _leave_out_empty(cfg['dataset'])
    elif cfg.get('datasets') is not None:
        for part in cfg['datasets']:
            if isinstance(part, Mapping):
                _leave_out_empty(part)
        cfg['datasets'] = [
            part
            for part in cfg['datasets']
            if not isinstance(part, Mapping)
            or (part.get('tasks') != {} and part.get('datasets') != [])
        ]


def _drawn(place: Place) -> Iterator[Any]:
    """The settings of a data set by which a label mask is drawn."""
    given = place.cfg.get('partial_labels')
    if isinstance(given, str) and given in PROTOCOLS:
        given = ConfigDict(protocol=given)
        place.cfg['partial_labels'] = given
    steps = place.cfg.get('pipeline') or []
    found = [step for step in steps if is_step(step, PartialAnnotation)]
    for settings in (given, *found):
        if isinstance(settings, Mapping) and 'protocol' in settings:
            yield settings


def _set_single_task(place: Place, tasks: Mapping, named: Named) -> None:
    """A run of one task sees the labels that the run of all would: its mask
    is drawn over all, and an image to which it leaves none is left out.
    """
    labelled = [n for n in place.facts(named) if n in tasks]
    for settings in _drawn(place):
        settings.setdefault('tasks', labelled)
    if place.name.startswith('train_dataloader'):
        kept = place.cfg.get('filter_cfg') or {}
        place.cfg['filter_cfg'] = ConfigDict(kept, drop_unlabelled=True)


def _undo_single_task(place: Place, tasks: Mapping, named: Named) -> None:
    """Undo :func:`_set_single_task`."""
    if place.cls is None:
        return
    labelled = {n for n in place.facts(named) if n in tasks}
    for settings in _drawn(place):
        if set(settings.get('tasks') or ()) == labelled:
            del settings['tasks']
    kept = place.cfg.get('filter_cfg') or {}
    if place.name.startswith('train_dataloader') and kept:
        kept.pop('drop_unlabelled', None)
        if not kept:
            del place.cfg['filter_cfg']
