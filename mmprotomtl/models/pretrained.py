"""Check that pretrained weights fit the model."""

from collections.abc import Iterable, Mapping

from mmengine.logging import print_log
from mmengine.runner.checkpoint import _load_checkpoint
from torch import Tensor, nn


def check_pretrained(module: nn.Module, key: str) -> None:
    """Compare a module with the checkpoint that its ``init_cfg`` names.

    mmengine loads only the weights that fit by name and shape, at most with a
    warning, so a run with a wrong ``prefix`` would train from scratch without
    notice. This function logs missing weights, and raises an error if no
    weight fits.

    Args:
        module: The module, for example the backbone.
        key: Key of its config, for messages.

    Raises:
        ValueError: No weight of the checkpoint fits. The message has keys of
            both and, if there is one, the correct ``prefix``.
    """
    cfg = getattr(module, 'init_cfg', None)
    if not isinstance(cfg, Mapping) or cfg.get('type') != 'Pretrained':
        return
    source, prefix = cfg['checkpoint'], cfg.get('prefix') or ''
    loaded = _load_checkpoint(source, map_location='cpu')
    weights = {
        # Prefix of weights that were saved from a DDP-wrapped model.
        name.removeprefix('module.'): value
        for name, value in loaded.get('state_dict', loaded).items()
        if isinstance(value, Tensor)
    }
    wanted = module.state_dict()
    found = _under(weights, prefix)
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
            f'{prefix!r}. The file has {_first_names(weights)}, the model '
            f'needs {_first_names(wanted)}{_advice(weights, wanted)}'
        )
    text = f'{key}: {fits} of {len(wanted)} tensors are loaded from {source}'
    if missing:
        text += f'; not in it: {_first_names(missing)}'
    if other:
        text += f'; of another shape: {_first_names(other)}'
    print_log(text, logger='current')


def _under(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the weights under a prefix, with the prefix removed."""
    # mmengine adds the dot if it is missing.
    prefix = prefix if not prefix or prefix.endswith('.') else f'{prefix}.'
    return {
        name[len(prefix) :]: value
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def _advice(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> str:
    """Return advice on the prefix under which the file has the weights."""
    for name in weights:
        for end in wanted:
            if name.endswith(f'.{end}'):
                return f': set prefix={name[: -len(end)]!r}'
            if name == end:
                return ': leave prefix out'
    return ''


def _first_names(names: Iterable[str], limit: int = 8) -> str:
    """Format the first names and, if there are more, their number."""
    given = list(names)
    more = f', ... ({len(given)})' if len(given) > limit else ''
    return ', '.join(given[:limit]) + more
