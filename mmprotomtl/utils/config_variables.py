"""Config variables: settings defined once and used in many places.

A Python variable of a config file cannot be changed by a config that inherits
from it. So the configs of this package use references: the string
``'${data_root}'`` is replaced by the top-level value ``data_root`` of the
merged config, and ``'${data_root}/onelabel.pth'`` by a path below it. A dict
with ``_from_='backbone'`` inherits the entries of the top-level dict
``backbone``; its own entries override them. An inheriting config, or the
command line, sets the top-level name, and it acts wherever it is used.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from inspect import signature
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.runner import FlexibleRunner, Runner

#: Top-level names of a config that a run reads; all others are variables.
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
        'allow_partial',
        'only_task',
        'runner_type',
        'tasks',
    }
) - {'self', 'cfg'}
#: Key of a dict that inherits the entries of a top-level dict.
FROM = '_from_'
_REFERENCE = re.compile(r'\$\{([^{}]*)\}')


def fill_in_variables(cfg: Config | ConfigDict) -> None:
    """Replace the references of a config by their values.

    The variables are then removed from the top level, because changing them
    afterwards would have no effect. A config without references is not
    changed.

    Args:
        cfg: The config of a run, changed in place.

    Raises:
        ValueError: A reference names no top-level setting, refers to itself,
            or is part of a string while its value is neither a string nor a
            number.
    """
    filler = _Filler(cfg)
    for key in list(cfg):
        if key in RUN_KEYS:
            cfg[key] = filler.fill(cfg[key], key)
    for name in filler.used:
        if name not in RUN_KEYS:
            cfg.pop(name, None)


def set_variables(cfg: Config, options: Mapping[str, Any]) -> dict[str, Any]:
    """Set variables from the command line, then replace all references.

    Args:
        cfg: The config of a run, changed in place.
        options: ``--cfg-options``: dotted key -> value.

    Returns:
        The options that are not variables but keys of the config.

    Raises:
        ValueError: An option is neither a variable nor a key that a run reads,
            or see :func:`fill_in_variables`.
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
    """Return the error message for an unknown option, with suggestions."""
    text = f'--cfg-options {key}={value}: this config has no such setting'
    known = sorted(RUN_KEYS | used)
    name = key.split('.')[-1]
    places = list(_places(cfg, name))
    close = get_close_matches(key.split('.')[0], known)
    if places:
        text += f'; set {" or ".join(places[:6])} instead'
    elif close:
        text += f'; did you mean {" or ".join(close)}?'
    else:
        text += f'; the settings are {", ".join(known)}'
    return text


def _places(node: Any, name: str, path: str = '') -> Iterator[str]:
    """Yield the dotted keys of a config whose last part is a name."""
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
        cfg: The config with the variables at its top level.
    """

    def __init__(self, cfg: Config | ConfigDict) -> None:
        self.cfg = cfg
        #: Names of all variables that were used.
        self.used: set[str] = set()
        self._open: list[str] = []

    def fill(self, value: Any, place: str, lenient: bool = False) -> Any:
        """Return a value with all references replaced.

        Args:
            value: The value; dicts are changed in place.
            place: Key of the value in the config, for errors.
            lenient: Whether to keep references to missing variables.
                Otherwise they are an error.
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
        """Merge a dict over the entries of the top-level dict ``name``."""
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
            raise ValueError(f'{place}: {name} refers to itself')
        self._open.append(name)
        value = copy.deepcopy(self.cfg[name])
        value = self.fill(value, name, lenient)
        self._open.pop()
        return value
