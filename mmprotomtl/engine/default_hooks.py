"""The hooks that a run keeps, whatever a user's ``custom_hooks`` list."""

from collections.abc import Mapping
from typing import Any

#: Hook -> its name in ``default_hooks``. Configs of earlier versions have
#: these in ``custom_hooks``.
NAMES = dict(
    IterSeedHook='iter_seed',
    TaskCheckHook='task_check',
    NonFiniteLossHook='non_finite_loss',
    PrototypeLogHook='prototype_log',
    MetricsFileHook='metrics_file',
)
#: Added to configs of earlier versions, which do not have them yet.
ADDED = dict(
    schedule=dict(type='ScheduleHook'),
    same_run=dict(type='SameRunHook'),
    finite_predictions=dict(type='FinitePredictionsHook'),
    labelled_loss=dict(type='LabelledLossHook'),
)
#: Those that mmengine's runner adds itself, and leaves out if they are None.
_MMENGINE = (
    'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler',
    'checkpoint',
)  # fmt: skip


def settle_hooks(cfg: Any) -> None:
    """Bring the hooks of a config into the form of today.

    A hook of :data:`NAMES` in ``custom_hooks`` becomes the one of
    ``default_hooks``, with the settings that it has there, so that it is
    registered once, and those of :data:`ADDED` are added. A default hook that
    is None is left out.

    Args:
        cfg: The config of a run, changed in place.

    Raises:
        ValueError: ``custom_hooks`` has one of these hooks twice, or the
            check of checkpoints is left out.
    """
    kept, moved = [], {}
    for hook in cfg.get('custom_hooks') or ():
        name = NAMES.get(_type_name(hook))
        if name in moved:
            raise ValueError(
                f'custom_hooks has two of {_type_name(hook)}: set '
                f'default_hooks.{name} instead, once'
            )
        if name is None:
            kept.append(hook)
        else:
            moved[name] = hook
    hooks = dict(cfg.get('default_hooks') or {})
    if moved:
        cfg['custom_hooks'] = kept
        for name in NAMES.values():
            if name in moved:
                hooks[name] = moved[name]
        for name, hook in ADDED.items():
            hooks.setdefault(name, dict(hook))
    removed = [n for n, h in hooks.items() if h is None and n not in _MMENGINE]
    if 'checkpoint_fit' in removed:
        raise ValueError(
            'default_hooks.checkpoint_fit=None is not allowed: a network of '
            'which a part is random would be scored; allow_partial=True loads '
            'a checkpoint of which only a part fits'
        )
    for name in removed:
        del hooks[name]
    if moved or removed:
        cfg['default_hooks'] = hooks


def _type_name(hook: Any) -> str:
    """The name of a hook's class, from its config."""
    kind = hook.get('type') if isinstance(hook, Mapping) else type(hook)
    return getattr(kind, '__name__', str(kind)).split('.')[-1]
