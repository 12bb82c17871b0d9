"""Settings that a config says once and uses in many places.

Configs inherit from each other, and a Python variable of one file does not
act in another. So the configs of this package refer to their settings by
name: the string ``'${data_root}'`` stands for what ``data_root`` is at the
top level of the finished config, and ``'${data_root}/onelabel.pth'`` for a
path below it. A dict with ``_from_='backbone'`` has the entries of the
top-level dict ``backbone``, and its own over them. A config that inherits, or
the command line, sets the top-level name, and it acts wherever it is used.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from inspect import signature
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.runner import FlexibleRunner, Runner

#: Top-level names of a config that a run reads itself.
RUN_KEYS = frozenset(
    {
        *signature(Runner.__init__).parameters,
        *signature(FlexibleRunner.__init__).parameters,
        # Read by mmengine's runners from the config as a whole.
        'activation_checkpointing',
        'custom_imports',
        'efficient_conv_bn_eval',
        'find_unused_parameters',
        'model_wrapper_cfg',
        'sync_bn',
        # Read by this package.
        'only_task',
        'runner_type',
        'tasks',
    }
) - {'self', 'cfg'}
#: Key of a dict that takes over the entries of a top-level dict.
FROM = '_from_'
_REFERENCE = re.compile(r'\$\{([^{}]*)\}')


def fill_in_variables(cfg: Config | ConfigDict) -> None:
    """Replace the references of a config by what they stand for.

    The settings that are referred to are taken out of the top level, where
    they no longer act. A config without references is left as it is.

    Args:
        cfg: The config of a run, changed in place.

    Raises:
        ValueError: A reference names no top-level setting, stands for itself,
            or is part of a string and not a string or a number.
    """
    filler = _Filler(cfg)
    for key in list(cfg):
        if key in RUN_KEYS:
            cfg[key] = filler.fill(cfg[key], key)
    for name in filler.used:
        if name not in RUN_KEYS:
            cfg.pop(name, None)


def set_variables(cfg: Config, options: Mapping[str, Any]) -> dict[str, Any]:
    """Take over the options of the command line that name such settings, then
    fill them in.

    Args:
        cfg: The config of a run, changed in place.
        options: ``--cfg-options``: dotted key -> value.

    Returns:
        The other options, which name places in the config.

    Raises:
        ValueError: An option names nothing that a run reads, or see
            :func:`fill_in_variables`.
    """
    trial = copy.deepcopy(cfg)
    filler = _Filler(trial)
    for key in list(trial):
        if key in RUN_KEYS:
            filler.fill(trial[key], key, lenient=True)
    left = {}
    for key, value in options.items():
        name = key.split('.')[0]
        if name in RUN_KEYS:
            left[key] = value
        elif name in filler.used:
            cfg.merge_from_dict({key: value})
        else:
            raise ValueError(_unknown(cfg, key, value, filler.used))
    fill_in_variables(cfg)
    return left


def _unknown(cfg: Config, key: str, value: Any, used: set[str]) -> str:
    """Why an option is refused, and what to set instead."""
    text = f'--cfg-options {key}={value}: this config has no such setting'
    known = sorted(RUN_KEYS | used)
    name = key.split('.')[-1]
    places = list(_places(cfg, name))
    close = get_close_matches(key.split('.')[0], known)
    if places:
        text += f'; set {" or ".join(places[:6])} instead'
    elif close:
        text += f'; is {" or ".join(close)} meant?'
    else:
        text += f'; those that can be set are {", ".join(known)}'
    return text


def _places(node: Any, name: str, path: str = '') -> Iterator[str]:
    """The dotted keys of a config that end in a name."""
    items: Any = ()
    if isinstance(node, (Mapping, Config)):
        items = node.items()
    elif isinstance(node, (list, tuple)):
        items = enumerate(node)
    for key, value in items:
        if not path and key not in RUN_KEYS:
            continue
        place = f'{path}.{key}' if path else str(key)
        if key == name and path:
            yield place
        yield from _places(value, name, place)


class _Filler:
    """Replaces references in values.

    Args:
        cfg: The config whose top level they name.
    """

    def __init__(self, cfg: Config | ConfigDict) -> None:
        self.cfg = cfg
        #: The names that were referred to.
        self.used: set[str] = set()
        self._open: list[str] = []

    def fill(self, value: Any, place: str, lenient: bool = False) -> Any:
        """A value without references.

        Args:
            value: The value; dicts are changed in place.
            place: Where it is in the config, for errors.
            lenient: Leave references to what is not there.
        """
        if isinstance(value, str):
            return self._string(value, place, lenient)
        if isinstance(value, (list, tuple)):
            filled = [
                self.fill(item, f'{place}.{number}', lenient)
                for number, item in enumerate(value)
            ]
            return filled if isinstance(value, list) else tuple(filled)
        if isinstance(value, dict):
            name = value.pop(FROM, None)
            for key in list(value):
                value[key] = self.fill(value[key], f'{place}.{key}', lenient)
            if name is not None:
                return self._over(value, name, place, lenient)
        return value

    def _string(self, text: str, place: str, lenient: bool) -> Any:
        whole = _REFERENCE.fullmatch(text)
        if whole is not None:
            return self._look_up(whole[1], text, place, lenient)

        def replace(match: re.Match[str]) -> str:
            value = self._look_up(match[1], match[0], place, lenient)
            if not isinstance(value, (str, int, float)):
                raise ValueError(
                    f'{place}={text!r}: {match[1]} is {value!r}, and only a '
                    'string or a number can be part of a string'
                )
            return str(value)

        return _REFERENCE.sub(replace, text)

    def _over(
        self, value: dict[str, Any], name: str, place: str, lenient: bool
    ) -> ConfigDict:
        """A dict over the entries of a top-level one."""
        base = self._look_up(name, {}, f'{place}.{FROM}', lenient)
        if not isinstance(base, dict):
            raise ValueError(
                f'{place}.{FROM}={name!r}: {name} is {base!r}, and not a dict'
            )
        merged = Config(dict(entry=base))
        merged.merge_from_dict(dict(entry=value))
        return merged.entry

    def _look_up(
        self, name: str, reference: Any, place: str, lenient: bool
    ) -> Any:
        self.used.add(name)
        if name not in self.cfg:
            if lenient:
                return reference
            raise ValueError(
                f'{place} refers to {name!r}, but the config has no {name!r} '
                f'at its top level: add it, or set {place}'
            )
        if name in self._open:
            raise ValueError(f'{place}: {name} stands for itself')
        self._open.append(name)
        value = copy.deepcopy(self.cfg[name])
        value = self.fill(value, name, lenient)
        self._open.pop()
        return value
