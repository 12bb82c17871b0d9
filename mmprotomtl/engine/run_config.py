"""The config of a run: its tasks said once, and handed to all that need them.

A config file says ``tasks = dict(...)`` at its top level and nowhere else.
:func:`load_config` completes them by what the files of the data sets say
(classes, unit), and hands them to the model and to every data set. A second
copy that differs is refused.
"""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config, ConfigDict

from mmprotomtl.datasets import MultiTaskDataset
from mmprotomtl.label_masks import PROTOCOLS
from mmprotomtl.registry import DATASETS
from mmprotomtl.tasks import build_tasks, complete_args, plain, task_class
from mmprotomtl.utils.config_variables import fill_in_variables, set_variables
from mmprotomtl.utils.errors import choose
from mmprotomtl.utils.old_configs import read_config

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
#: What else in a config may hold tasks.
OTHERS = ('model', 'val_evaluator', 'test_evaluator', 'visualizer')


def load_config(
    file: str | Path | Config | Mapping, options: Mapping | None = None
) -> Config:
    """The complete config of a run.

    Args:
        file: A config file, or a config that was read from one. One that a
            run has written (in its work directory, in a checkpoint) loads as
            well as the file that it was made of.
        options: Settings that replace those of the file, as
            ``{'tasks.depth.loss_weight': 0.6}`` (``--cfg-options``). Settings
            of ``partial_labels`` that name a protocol or a mask file replace
            the whole earlier value.

    Returns:
        The config: ``tasks``, completed by the facts of the data sets' files,
        and the same tasks in ``model`` and in every data set.

    Raises:
        ValueError: Copies of a task's setting differ, a setting contradicts
            the files or is unknown, or a data set lacks a task. The message
            names the place, the key, the values and where to set it.
    """
    if isinstance(file, (str, Path)):
        cfg = read_config(file)
    elif isinstance(file, Config):
        cfg = copy.deepcopy(file)
    else:
        cfg = Config(copy.deepcopy(dict(file)))
    options = set_variables(cfg, options or {})
    _take_copies(cfg)
    if options:
        _replace_partial_labels(cfg, options)
        cfg.merge_from_dict(_without_partial_labels(options))
        _take_copies(cfg, whole=False)
    _hand_over(cfg)
    return cfg


def share_tasks(cfg: Config | ConfigDict) -> None:
    """Do to a config that was read without :func:`load_config` what that
    does; in place, and as often as one likes.

    Raises:
        ValueError: See :func:`load_config`.
    """
    fill_in_variables(cfg)
    _take_copies(cfg)
    _hand_over(cfg)


class _DatasetCfg(NamedTuple):
    """A data set in a config, below any wrappers."""

    #: Where it is: ``train_dataloader.dataset.datasets.0``.
    place: str
    cfg: dict
    #: Its class; None: not ours, or not registered.
    cls: type[MultiTaskDataset] | None
    #: Whether it is one of several that are concatenated.
    joined: bool

    @property
    def source(self) -> str:
        """Its place and class, for errors."""
        return f'{self.place} ({self.cls.__name__ if self.cls else "?"})'

    def facts(self) -> Mapping[str, dict] | None:
        """What its files say of its tasks; None: not known."""
        return None if self.cls is None else self.cls.task_facts(self.cfg)


def dataset_cfgs(cfg: Mapping) -> Iterator[_DatasetCfg]:
    """The data sets of a run's config, those in wrappers too."""
    for loader in LOADERS:
        inner = (cfg.get(loader) or {}).get('dataset')
        if isinstance(inner, Mapping):
            yield from _inside(f'{loader}.dataset', inner, False)


def _inside(place: str, cfg: Any, joined: bool) -> Iterator[_DatasetCfg]:
    if isinstance(cfg.get('dataset'), Mapping):
        yield from _inside(f'{place}.dataset', cfg['dataset'], joined)
    elif cfg.get('datasets') is not None:
        for number, part in enumerate(cfg['datasets']):
            if isinstance(part, Mapping):
                yield from _inside(f'{place}.datasets.{number}', part, True)
    else:
        cls = cfg.get('type')
        cls = DATASETS.get(cls) if isinstance(cls, str) else cls
        ours = isinstance(cls, type) and issubclass(cls, MultiTaskDataset)
        yield _DatasetCfg(place, cfg, cls if ours else None, joined)


def _take_copies(cfg: Any, whole: bool = True) -> None:
    """Take the copies of ``tasks`` out of a config, if they agree with it.

    Args:
        cfg: The config, changed in place.
        whole: Whether a copy has to name all tasks of the run. One that comes
            from the command line names what it sets.

    Raises:
        ValueError: A copy differs.
    """
    parts = list(dataset_cfgs(cfg))
    holders = [(part.place, part.cfg, part.joined) for part in parts]
    for key in OTHERS:
        given = cfg.get(key)
        for place, one in (
            ((f'{key}.{n}', item) for n, item in enumerate(given))
            if isinstance(given, (list, tuple))
            else ((key, given),)
        ):
            if isinstance(one, Mapping):
                holders.append((place, one, False))
    copies = [
        (place, holder, joined, holder['tasks'])
        for place, holder, joined in holders
        if holder.get('tasks') is not None
    ]
    if not copies:
        return
    origin = 'tasks'
    if cfg.get('tasks') is None:
        # Written by hand: the model's copy is the one that was trained.
        copies.sort(key=lambda found: found[0] != 'model')
        origin = f'{copies[0][0]}.tasks'
        cfg['tasks'] = copy.deepcopy(copies[0][3])
    elif whole and cfg.get('only_task') is None:
        _reduce(cfg, copies)
    tasks = _complete(cfg, parts)
    names = _run_names(cfg)
    for place, holder, joined, found in copies:
        named = set(found)
        missing = [] if joined or not whole else sorted(set(names) - named)
        if missing or named - set(tasks):
            raise ValueError(
                f'{place}.tasks names {sorted(named)}, but {origin} names '
                f'{sorted(names)}: leave {place}.tasks out, and set tasks= at '
                "the top level of the config (only_task='depth' for a run of "
                'one of them)'
            )
        if isinstance(found, Mapping):
            _compare(place, found, tasks, origin)
        if joined and whole:
            holder['tasks'] = [name for name in tasks if name in named]
        else:
            del holder['tasks']
    if whole and cfg.get('only_task') is not None:
        _take_single_task(cfg, parts)


def _reduce(cfg: Any, copies: list) -> None:
    """Keep of ``tasks`` those that model and data sets name, where all of
    them name the same fewer ones: so single-task configs were once written.
    """
    named = {frozenset(found) for _, _, joined, found in copies if not joined}
    complete = {place for place, *_ in copies if place == 'model'}
    if len(named) == 1 and complete and len(copies) > 1:
        (names,) = named
        if names < set(cfg['tasks']):
            cfg['tasks'] = {
                n: args for n, args in cfg['tasks'].items() if n in names
            }


def _compare(
    place: str, found: Mapping, tasks: Mapping[str, dict], origin: str
) -> None:
    """Compare a copy with the run's tasks.

    Raises:
        ValueError: They differ.
    """
    nothing = object()
    for name, args in found.items():
        for key, value in (args or {}).items():
            ours = tasks[name].get(key, nothing)
            if key == 'type' and ours is nothing:
                ours = name
            if ours is nothing or plain(value) != plain(ours):
                said = 'not set' if ours is nothing else f'{ours!r}'
                raise ValueError(
                    f'{place}.tasks.{name}.{key}={value!r}, but '
                    f'{origin}.{name}.{key} is {said}: set '
                    f'tasks.{name}.{key} at the top level, which acts in '
                    f'model, data, scores and pictures, and leave '
                    f'{place}.tasks out'
                )


def _run_names(cfg: Mapping) -> list[str]:
    """The tasks that the run learns.

    Raises:
        ValueError: ``only_task`` is none of the config's tasks.
    """
    only = cfg.get('only_task')
    if only is None:
        return list(cfg['tasks'])
    choose('only_task', only, cfg['tasks'])
    return [only]


def _complete(cfg: Any, parts: list[_DatasetCfg]) -> dict[str, dict]:
    """The config's tasks with the facts of the data sets' files.

    Raises:
        ValueError: A task has no labels in a data set, a setting contradicts
            the files, is unknown, or is not allowed.
    """
    tasks = {}
    for name, args in cfg['tasks'].items():
        facts: dict[str, Any] = {}
        source = first = ''
        for part in parts:
            known = part.facts()
            if known is None or name not in known:
                continue
            cls = task_class(name, {**known[name], **(args or {})})
            for key, value in known[name].items():
                meant = key in ('type', *cls.label_settings)
                if meant and plain(facts.get(key, value)) != plain(value):
                    raise ValueError(
                        f'tasks.{name}.{key} is {facts[key]!r} in {first} but '
                        f'{value!r} in {part.source}: one network cannot '
                        'learn both under one name'
                    )
                if key not in facts:
                    facts[key], first = value, part.source
            source = source or part.source
        tasks[name] = complete_args(name, args, facts, source)
    build_tasks(tasks)
    return tasks


def _check_labels(
    names: list[str], tasks: Mapping, parts: list[_DatasetCfg]
) -> None:
    """Check that each loader's data sets have labels of the run's tasks.

    Raises:
        ValueError: One of them has not.
    """
    found: dict[str, tuple[set, list[str]]] = {}
    for part in parts:
        facts = part.facts()
        loader = part.place.split('.')[0]
        place = loader if part.joined else part.place
        known, sources = found.setdefault(place, (set(), []))
        known.update(tasks if facts is None else facts)
        sources.append(part.source)
    for known, sources in found.values():
        for name in names:
            if name not in known:
                raise ValueError(
                    f'tasks.{name}: {", ".join(sources)} has no labels of it; '
                    f'it has {sorted(known)}'
                )


def _hand_over(cfg: Any) -> None:
    """Hand the tasks of a config, which has no copies, to model and data."""
    if cfg.get('tasks') is None:
        return
    parts = list(dataset_cfgs(cfg))
    tasks = _complete(cfg, parts)
    cfg['tasks'] = tasks
    names = _run_names(cfg)
    _check_labels(names, tasks, parts)
    run = {name: tasks[name] for name in names}
    if isinstance(cfg.get('model'), Mapping):
        cfg['model']['tasks'] = ConfigDict(copy.deepcopy(run))
    for part in parts:
        facts = part.facts()
        if facts is None:
            continue
        chosen = part.cfg.get('tasks') or list(tasks)
        labelled = [n for n in tasks if n in facts and n in chosen]
        if cfg.get('only_task') is not None:
            _set_single_task(part, labelled)
        part.cfg['tasks'] = ConfigDict(
            {n: copy.deepcopy(run[n]) for n in labelled if n in run}
        )
    _drop_empty(cfg)


def _drop_empty(cfg: Mapping) -> None:
    """Take the parts without labels of the only task out of concatenations."""

    def drop(inner: Any) -> None:
        if isinstance(inner.get('dataset'), Mapping):
            drop(inner['dataset'])
        elif inner.get('datasets') is not None:
            for part in inner['datasets']:
                if isinstance(part, Mapping):
                    drop(part)
            inner['datasets'] = [
                part
                for part in inner['datasets']
                if not isinstance(part, Mapping)
                or (part.get('tasks') != {} and part.get('datasets') != [])
            ]

    for loader in LOADERS:
        inner = (cfg.get(loader) or {}).get('dataset')
        if isinstance(inner, Mapping):
            drop(inner)


def _drawn(part: _DatasetCfg) -> Iterator[dict]:
    """The settings of a data set by which a label mask is drawn."""
    given = part.cfg.get('partial_labels')
    if isinstance(given, str) and given in PROTOCOLS:
        given = ConfigDict(protocol=given)
        part.cfg['partial_labels'] = given
    steps = part.cfg.get('pipeline') or []
    found = [s for s in steps if s.get('type') == 'PartialAnnotation']
    for settings in (part.cfg.get('partial_labels'), *found):
        if isinstance(settings, Mapping) and 'protocol' in settings:
            yield settings


def _set_single_task(part: _DatasetCfg, tasks: list[str]) -> None:
    """A run of one task sees the labels that the run of all would: its mask
    is drawn over all, and an image to which it leaves none is left out.
    """
    for settings in _drawn(part):
        settings.setdefault('tasks', tasks)
    if part.place.startswith('train_dataloader'):
        kept = part.cfg.get('filter_cfg') or {}
        part.cfg['filter_cfg'] = ConfigDict(kept, drop_unlabelled=True)


def _take_single_task(cfg: Mapping, parts: list[_DatasetCfg]) -> None:
    """Undo :func:`_set_single_task`."""
    for part in parts:
        facts = part.facts()
        if facts is None:
            continue
        chosen = part.cfg.get('tasks') or list(cfg['tasks'])
        labelled = {n for n in cfg['tasks'] if n in facts and n in chosen}
        for settings in _drawn(part):
            if set(settings.get('tasks') or ()) == labelled:
                del settings['tasks']
        if part.place.startswith('train_dataloader'):
            kept = ConfigDict(part.cfg.get('filter_cfg') or {})
            kept.pop('drop_unlabelled', None)
            part.cfg['filter_cfg'] = kept
            if not kept:
                del part.cfg['filter_cfg']


def _partial_labels(options: Mapping) -> dict[str, dict]:
    """Options below ``partial_labels``: its place -> what is set in it."""
    found: dict[str, dict] = {}
    for key, value in options.items():
        path = key.split('.')
        if 'partial_labels' not in path:
            continue
        place = path.index('partial_labels')
        inner = found.setdefault('.'.join(path[: place + 1]), {})
        below = path[place + 1 :]
        if not below:
            if isinstance(value, Mapping):
                inner.update(value)
            continue
        for name in below[:-1]:
            inner = inner.setdefault(name, {})
        inner[below[-1]] = value
    return {place: given for place, given in found.items() if given}


def _without_partial_labels(options: Mapping) -> dict:
    """The options that :func:`_replace_partial_labels` leaves."""
    done = tuple(_partial_labels(options))
    return {
        key: value
        for key, value in options.items()
        if not any(key == d or key.startswith(f'{d}.') for d in done)
    }


def _replace_partial_labels(cfg: Any, options: Mapping) -> None:
    """Set ``partial_labels`` as the command line says, whatever form its
    earlier value has: a name, the path of a file, a dict.
    """
    for key, given in _partial_labels(options).items():
        holder: Any = cfg
        for name in key.split('.')[:-1]:
            if isinstance(holder, list):
                inside = holder[int(name)]
            else:
                inside = holder.get(name)
            if inside is None:
                raise ValueError(f'{key}: the config has no {name!r} there')
            holder = inside
        earlier = holder.get('partial_labels')
        if isinstance(earlier, str):
            name = 'protocol' if earlier in PROTOCOLS else 'mask_file'
            earlier = {name: earlier}
        named = {'protocol', 'mask_file'} & set(given)
        given = dict(given)
        given.pop('_delete_', None)
        holder['partial_labels'] = ConfigDict(
            given if named else {**(earlier or {}), **given}
        )
