"""The config of a run, complete."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmprotomtl.label_masks import PROTOCOLS
from mmprotomtl.utils.config_variables import fill_in_variables, set_variables
from mmprotomtl.utils.old_configs import read_config

from .default_hooks import settle_hooks
from .run_length import (
    check_length_options,
    leave_out_copies,
    settle_run_by_iterations,
)
from .task_sharing import LOADERS, hand_over, take_copies


def load_config(
    file: str | Path | Config | Mapping, options: Mapping | None = None
) -> Config:
    """The complete config of a run.

    A config file says ``tasks = dict(...)`` at its top level and nowhere else.
    This completes them by what the files of the data sets say (classes, unit),
    and hands them to the model and to every data set. A second copy that
    differs is refused.

    The schedule ends with the run: an ``end`` in ``param_scheduler`` that is
    the file's ``max_epochs`` (``max_iters``) follows when an option sets
    another, and so does a ``val_interval`` as long as the run. The hooks that
    every run has (:data:`mmprotomtl.engine.default_hooks.NAMES`) are default
    hooks, also where a config of an earlier version has them among its
    ``custom_hooks``.

    Args:
        file: A config file, or a config that was read from one. One that a
            run has written (in its work directory, in a checkpoint) loads as
            well as the file that it was made of.
        options: Settings that replace those of the file, as
            ``{'tasks.depth.loss_weight': 0.6}`` (``--cfg-options``). Settings
            of ``partial_labels`` that name a protocol or a mask file replace
            the whole earlier value.

    Returns:
        The config: ``tasks``, completed, and the same tasks in ``model`` and
        in every data set. With ``only_task='depth'`` these have that one task,
        images without a label of it are left out of training, and label masks
        are drawn over all tasks, as the run of all tasks would.

    Raises:
        ValueError: Copies of a task's setting differ, a setting contradicts
            the files or is unknown, or a data set lacks a task. The message
            names the place, the key, the values and where to set it. Or an
            option acts nowhere, or the file is one of an earlier version.
    """
    if isinstance(file, (str, Path)):
        cfg = read_config(file)
    elif isinstance(file, Config):
        cfg = copy.deepcopy(file)
    else:
        cfg = Config(copy.deepcopy(dict(file)))
    check_length_options(options or {})
    options = set_variables(cfg, options or {})
    settle_hooks(cfg)
    leave_out_copies(cfg)
    named = take_copies(cfg)
    if options:
        masks = _label_options(options)
        for place, given in masks.items():
            _set_partial_labels(cfg, place, given)
        cfg.merge_from_dict(
            {
                key: value
                for key, value in options.items()
                if not any(f'{key}.'.startswith(f'{m}.') for m in masks)
            }
        )
        named = take_copies(cfg, named)
        settle_hooks(cfg)
    settle_run_by_iterations(cfg)
    hand_over(cfg, named)
    _settle(cfg)
    return cfg


def share_tasks(cfg: Config | ConfigDict) -> None:
    """Do in place what :func:`load_config` does to a config that was read
    without it, and into which options have been merged.

    Raises:
        ValueError: See :func:`load_config`.
    """
    fill_in_variables(cfg)
    settle_hooks(cfg)
    leave_out_copies(cfg)
    settle_run_by_iterations(cfg)
    hand_over(cfg, take_copies(cfg))
    _settle(cfg)


def _settle(cfg: Any) -> None:
    """Set what follows from the rest, or what every run needs."""
    hooks = cfg.get('default_hooks') or {}
    if hooks.get('checkpoint_fit') is None:
        check = dict(type='mmprotomtl.CheckpointFitHook')
        cfg['default_hooks'] = ConfigDict(hooks, checkpoint_fit=check)
    for name in LOADERS:
        loader = cfg.get(name) or {}
        if loader.get('num_workers') == 0:
            # Both are about workers; torch refuses them where there are none.
            loader['persistent_workers'] = False
            loader.pop('prefetch_factor', None)


def _label_options(options: Mapping) -> dict[str, dict]:
    """What options set below ``partial_labels``: its place -> settings."""
    found: dict[str, dict] = {}
    for key, value in options.items():
        path = key.split('.')
        if 'partial_labels' not in path:
            continue
        end = path.index('partial_labels') + 1
        below = path[end:]
        if not below and not isinstance(value, Mapping):
            continue  # A name or a file, which replaces anything.
        settings = found.setdefault('.'.join(path[:end]), {})
        if not below:
            settings.update(value)
            continue
        for name in below[:-1]:
            settings = settings.setdefault(name, {})
        settings[below[-1]] = value
    return found


def _set_partial_labels(cfg: Config, place: str, given: dict) -> None:
    """Set ``partial_labels``, whatever form its earlier value has: a
    protocol's name, the path of a file, a dict.
    """
    holder: Any = cfg
    for name in place.split('.')[:-1]:
        inner = (
            holder[int(name)] if isinstance(holder, list) else holder.get(name)
        )
        if inner is None:
            raise ValueError(f'{place}: the config has no {name!r} there')
        holder = inner
    earlier = holder.get('partial_labels') or {}
    if isinstance(earlier, str):
        key = 'protocol' if earlier in PROTOCOLS else 'mask_file'
        earlier = {key: earlier}
    replace = given.pop('_delete_', False) or {'protocol', 'mask_file'} & set(
        given
    )
    holder['partial_labels'] = ConfigDict(
        given if replace else {**earlier, **given}
    )
