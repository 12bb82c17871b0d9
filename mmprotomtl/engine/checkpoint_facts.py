"""What a checkpoint says of the data that its network was trained on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.runner.checkpoint import _load_checkpoint

from mmprotomtl.models.checkpoint_fit import differences, trained_tasks
from mmprotomtl.tasks import build_tasks

from .run_config import share_tasks


def checkpoint_meta(checkpoint: str) -> dict:
    """The meta information of a checkpoint; empty where it has none, as in a
    file of weights alone or a folder of shards.
    """
    if Path(checkpoint).is_dir():
        return {}
    stored = _load_checkpoint(checkpoint, map_location='cpu')
    found = stored.get('meta') if isinstance(stored, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def take_facts(cfg: Config | ConfigDict, meta: Mapping) -> None:
    """Take over names of classes, colours and the scale of depth from the
    data that a checkpoint was trained on, where a config does not say them.

    A config knows them from its data sets. One for pictures of a user's own
    may not, and would show class 3 of a trained network as '3'.

    Args:
        cfg: The config of a run, complete (:func:`load_config`); changed in
            place.
        meta: The meta information of the checkpoint.
    """
    if not isinstance(cfg.get('tasks'), Mapping):
        return
    found: dict[str, dict[str, Any]] = {}
    for name, theirs in trained_tasks(meta).items():
        if name not in cfg['tasks']:
            continue
        ours = dict(cfg['tasks'][name] or {})
        task = build_tasks({name: ours})[name]
        if any(differences(task, theirs)):
            continue  # Other classes: the weights will be refused.
        found[name] = {
            key: theirs[key]
            for key in task.shown_settings
            if ours.get(key) is None and theirs.get(key) is not None
        }
    if any(found.values()):
        for name, facts in found.items():
            cfg['tasks'][name] = ConfigDict(cfg['tasks'][name] or {}, **facts)
        share_tasks(cfg)
