"""Check that pretrained weights fit the model."""

from collections.abc import Mapping

from mmengine.logging import print_log
from mmengine.runner.checkpoint import _load_checkpoint
from torch import Tensor, nn

from mmprotomtl.loading.checkpoint_files import trust_if_told

from .checkpoint_fit import first_names, weights_of


def check_pretrained(module: nn.Module, key: str) -> None:
    """Compare a module with the checkpoint that its ``init_cfg`` names.

    mmengine loads only the weights that fit by name and shape, at most with a
    warning, so a run with a wrong ``prefix`` would train from scratch without
    notice. This function logs missing weights, and raises an error if no
    weight fits.

    Args:
        module: The module, for example the backbone; its ``init_cfg`` may be
            a list. ``trust_checkpoint=True`` in it lets the file run code.
        key: Key of its config, for messages.

    Raises:
        ValueError: No weight of the checkpoint fits. The message has keys of
            both and, if there is one, the correct ``prefix``.
    """
    given = trust_if_told(getattr(module, 'init_cfg', None))
    if given is not None:
        module.init_cfg = given
    if isinstance(given, (list, tuple)) and len(given) == 1:
        # Of a list, mmpretrain's ResNet does not see that it is pretrained,
        # and sets the last scale of each block to 0 after loading.
        given = module.init_cfg = given[0]
    for cfg in given if isinstance(given, (list, tuple)) else [given]:
        if isinstance(cfg, Mapping) and cfg.get('type') == 'Pretrained':
            _check(module, key, cfg)


def _check(module: nn.Module, key: str, cfg: Mapping) -> None:
    source, prefix = cfg['checkpoint'], cfg.get('prefix') or ''
    weights = weights_of(_load_checkpoint(source, map_location='cpu'))
    wanted = module.state_dict()
    try:
        found = _as_loaded(module, _under(weights, prefix))
    except ValueError as error:
        raise ValueError(f'{key}.init_cfg: {source}: {error}') from error
    missing = [name for name in wanted if name not in found]
    other = [
        f'{name} {tuple(found[name].shape)} for {tuple(value.shape)}'
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    fits = len(wanted) - len(missing) - len(other)
    if not fits:
        raise ValueError(
            f'{key}.init_cfg: no weight of {source} fits under prefix='
            f'{prefix!r}. The file has {first_names(weights)}, the model '
            f'needs {first_names(wanted)}{_advice(weights, wanted)}'
        )
    text = f'{key}: {fits} of {len(wanted)} tensors are loaded from {source}'
    if missing:
        text += f'; not in it: {first_names(missing)}'
    if other:
        text += f'; of another shape: {first_names(other)}'
    print_log(text, logger='current')


def _under(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the weights under a prefix, with the prefix removed."""
    # mmengine adds the dot if it is missing.
    prefix = prefix if not prefix or prefix.endswith('.') else f'{prefix}.'
    return {
        name[len(prefix) :]: value
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def _as_loaded(
    module: nn.Module, weights: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the weights under the names and sizes that a module gives them
    when it loads them; a backbone may know files of other projects.
    """
    for hook in module._load_state_dict_pre_hooks.values():
        hook(weights, '', {}, True, [], [], [])
    return weights


def _advice(
    weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> str:
    """Return advice on the prefix under which the file has the weights."""
    for name in weights:
        for end in wanted:
            if name.endswith(f'.{end}'):
                return f': set prefix={name[: -len(end)]!r}'
            if name == end:
                return ': leave prefix out'
    return ''
