"""Read the config text that a checkpoint holds, without running it.

mmengine executes the text of a config as Python. That is right for a file of
the user's own, but a checkpoint comes from somebody else. mmengine writes
assignments of plain values only, so these are all that is read here.

Plain values are not harmless in themselves: mmengine imports and calls
whatever ``type='module.function'`` names. So every ``type`` has to be a class
that the registries know, of a part of OpenMMLab that builds networks and
prepares images.
"""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

from mmengine import registry as registries
from mmengine.config import Config
from mmengine.registry import Registry

from mmprotomtl.utils.errors import DataFileError

#: Scopes that may stand in front of the name of a class.
SCOPES = ('mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'mmprotomtl')
#: Packages of which only a part is allowed, and these parts. Others of their
#: classes load networks by names of model hubs, with the code found there.
ALLOWED = {
    'mmseg': (
        'mmseg.datasets.transforms', 'mmseg.evaluation', 'mmseg.engine',
        'mmseg.models.backbones', 'mmseg.models.data_preprocessor',
        'mmseg.models.decode_heads', 'mmseg.models.losses',
        'mmseg.models.necks', 'mmseg.models.segmentors',
        'mmseg.models.utils', 'mmseg.visualization',
    ),
    'mmpretrain': (
        'mmpretrain.datasets.transforms', 'mmpretrain.engine',
        'mmpretrain.models.backbones', 'mmpretrain.models.necks',
        'mmpretrain.models.losses', 'mmpretrain.models.utils.norm',
    ),
}  # fmt: skip
REFUSED = (
    'mmseg.models.backbones.timm_backbone', 'mmseg.models.backbones.vpd',
    'mmpretrain.models.backbones.timm_backbone',
)  # fmt: skip
#: Longest text that is read; the configs of this package have 20,000 letters.
MAX_LENGTH = 1_000_000
_ADVICE = (
    'Give the config file as `model`; or, if you know who wrote the '
    'checkpoint, trust_checkpoint=True'
)


def read_stored_config(text: str, source: str) -> Config:
    """Read the text of a config that a checkpoint holds.

    Args:
        text: The text, as mmengine's ``Config.pretty_text``.
        source: The checkpoint, for messages.

    Raises:
        DataFileError: The text has more than assignments of plain values, or
            names modules or classes that could run other code. The message
            has the line, module or class.
    """
    try:
        if not isinstance(text, str) or len(text) > MAX_LENGTH:
            raise _Refused(f'is no text of up to {MAX_LENGTH} letters')
        try:
            values = dict(map(_assignment, ast.parse(text).body))
        except _Refused:
            raise
        except Exception as error:
            raise _Refused(f'cannot be read ({error})') from None
        _import(values)
        for place, key, value in _settings(values, ''):
            if isinstance(value, str) and '${' in value:
                # A run fills in the variables before it stores its config.
                raise _Refused(f'has variables in {place}')
            if key == 'type' and isinstance(value, str):
                _check_type(value, place)
            elif key in ('_scope_', 'default_scope'):
                if value not in (None, 'mmprotomtl'):
                    raise _Refused(f'has {place}={value!r:.80}')
            elif key == 'trust_checkpoint' and value:
                raise _Refused(f'has {place}: only a user can say that')
    except _Refused as error:
        raise DataFileError(
            source, f'the config in it {error}. {_ADVICE}'
        ) from None
    return Config(values)


class _Refused(Exception):
    pass


def _assignment(node: ast.stmt) -> tuple[str, Any]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        if isinstance(target, ast.Name):
            return target.id, _value(node.value)
    raise _not_plain(node)


def _not_plain(node: Any) -> _Refused:
    return _Refused(
        f'has in line {node.lineno} more than plain values '
        f'({type(node).__name__}), and is not executed'
    )


def _value(node: ast.expr) -> Any:
    """Return the value of literals and calls of ``dict``."""
    match node:
        case ast.Constant():
            return node.value
        case ast.List():
            return [_value(one) for one in node.elts]
        case ast.Tuple():
            return tuple(_value(one) for one in node.elts)
        case ast.Set():
            return {_value(one) for one in node.elts}
        case ast.Dict():
            return _dict(list(zip(node.keys, node.values, strict=True)))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=number)):
            if isinstance(number, (int, float)):
                return -number
        case ast.Call(func=ast.Name(id='dict'), args=args, keywords=words):
            found = dict(_value(args[0])) if len(args) == 1 else {}
            if len(args) < 2:
                named = [(word.arg, word.value) for word in words]
                return {**found, **_dict(named)}
    raise _not_plain(node)


def _dict(items: list[tuple[Any, ast.expr]]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in items:
        if key is None:  # **{...}
            found.update(_value(value))
        else:
            name = key if isinstance(key, str) else _value(key)
            found[name] = _value(value)
    return found


def _import(values: dict[str, Any]) -> None:
    """Import what ``custom_imports`` names, if that runs no new code."""
    named = (values.get('custom_imports') or {}).get('imports') or []
    for name in [named] if isinstance(named, str) else named:
        ours = re.fullmatch(r'mmprotomtl(\.\w+)*', str(name))
        if name not in sys.modules and not ours:
            raise _Refused(f'imports {str(name)!r:.80}')
        importlib.import_module(name)


def _settings(value: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield place, key and value of every setting, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            below = f'{place}.{key}' if place else str(key)
            yield below, key, inner
            yield from _settings(inner, below)
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _settings(inner, f'{place}[{number}]')


def _check_type(name: str, place: str) -> None:
    """Refuse what no registry knows, and classes that could run other code."""
    scope, _, plain = name.rpartition('.')
    if not plain.isidentifier() or scope not in ('', *SCOPES):
        raise _Refused(f'has {place}={name[:80]!r}, which is no class of '
                       f'{", ".join(SCOPES)}')  # fmt: skip
    found = list(_registered(plain, scope))
    if not found:
        raise _Refused(f'has {place}={name[:80]!r}, which is not registered')
    for kind in found:
        module = kind.__module__
        allowed = ALLOWED.get(module.partition('.')[0], ('',))
        if not module.startswith(allowed) or module.startswith(REFUSED):
            raise _Refused(f'builds {place}={name[:80]!r} of {module}')


def _registered(name: str, scope: str) -> Iterator[Any]:
    """Yield the classes that a name may stand for.

    mmengine looks in the registries of the scope and of its parents. Those of
    mmpretrain are searched only for names that begin with it.
    """
    scopes = {scope or 'mmprotomtl', 'mmseg', 'mmengine'}
    for root in _roots():
        for known in _tree(root):
            if known.scope in scopes:
                known.import_from_location()
                kind = known.module_dict.get(name)
                if inspect.isclass(kind) or inspect.isroutine(kind):
                    yield kind


def _roots() -> list[Registry]:
    # Imported here, because this package imports us.
    from mmprotomtl.registry import TASK_MEASURES, TASKS

    found = [r for r in vars(registries).values() if isinstance(r, Registry)]
    return [*found, TASKS, TASK_MEASURES]


def _tree(registry: Registry) -> Iterator[Registry]:
    yield registry
    for child in registry.children.values():
        yield from _tree(child)
