"""Do the weights of a checkpoint fit a model?

mmengine loads what fits by name and shape, leaves the rest at random and logs
a warning. A network of which a part is random still predicts something, and
its scores look like scores; so what does not fit is refused here.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

from mmprotomtl.tasks import Task, build_tasks, plain

_PREFIX = 'module.'


class Misfit(NamedTuple):
    """What of a checkpoint and a model does not fit; all empty: they fit."""

    #: Weights of the model that the checkpoint lacks.
    missing: list[str]
    #: Weights of the checkpoint that the model lacks.
    unexpected: list[str]
    #: Name and both shapes of weights that differ in shape.
    shapes: list[str]

    def text(self) -> str:
        """A line for each kind, with the first names."""
        kinds = (
            ('missing in it', self.missing, ', '),
            ('not of this network', self.unexpected, ', '),
            ('of another shape', self.shapes, '; '),
        )
        return ''.join(
            f'\n  {len(names)} {kind}: {first_names(names, glue=glue)}'
            for kind, names, glue in kinds
            if names
        )


def weights_of(checkpoint: Mapping) -> 'OrderedDict[str, Tensor]':
    """The weights of a checkpoint by the names that they have in the model.

    Args:
        checkpoint: As loaded: with ``state_dict``, or the weights alone. The
            ``module.`` that a process of several puts before each name is
            taken off.

    Raises:
        ValueError: It is no dict.
    """
    if not isinstance(checkpoint, Mapping):
        raise ValueError(
            f'a checkpoint is a dict of weights, this is a '
            f'{type(checkpoint).__name__}'
        )
    stored = checkpoint.get('state_dict', checkpoint)
    weights = OrderedDict(
        (name.removeprefix(_PREFIX), value)
        for name, value in stored.items()
        if isinstance(value, Tensor)
    )
    # torch keeps the versions of the modules here, and reads older ones by it.
    versions: Any = getattr(stored, '_metadata', None)
    if versions is not None:
        weights._metadata = versions  # type: ignore[attr-defined]
    return weights


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> Misfit:
    """Load the weights that fit into a model, and say what does not.

    Modules may rename or resize what older versions of them have stored, so
    that only loading can tell what fits.

    Args:
        model: The model, or its wrapper of distributed training.
        weights: See :func:`weights_of`.
    """
    if is_model_wrapper(model) and not isinstance(model, FSDP):
        model = model.module  # type: ignore[assignment]
    found: dict[str, list[str]] = {}

    def remember(_: nn.Module, keys: Any) -> None:
        found.update(missing=keys.missing_keys, extra=keys.unexpected_keys)

    handle = model.register_load_state_dict_post_hook(remember)
    shapes: list[str] = []
    try:
        model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        # Without `strict`, torch only raises for shapes: a line for each.
        shapes = [
            line.removeprefix('size mismatch for ').rstrip('.')
            for line in str(error).split('\n\t')[1:]
        ]
        if not shapes:
            raise
    finally:
        handle.remove()
    return Misfit(
        # Counters that batch normalisation does not need for predicting.
        [n for n in found['missing'] if 'num_batches_tracked' not in n],
        list(found['extra']),
        shapes,
    )


def check_weights(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    source: str,
    advice: str = '',
    allow_partial: bool = False,
) -> None:
    """Load weights into a model if they fit.

    Args:
        model: See :func:`load_weights`.
        weights: See :func:`weights_of`.
        source: Their file, for messages.
        advice: What to do about it, the end of the error.
        allow_partial: Whether weights of which only a part fits are loaded,
            with a warning that lists the others.

    Raises:
        ValueError: Weights are missing, not of this network or of another
            shape; or, whatever is allowed, none fits.
    """
    misfit = load_weights(model, weights)
    if not any(misfit):
        return
    total, text = len(weights), misfit.text()
    fits = total - len(misfit.unexpected) - len(misfit.shapes)
    if fits <= 0:
        known = first_names(weights) if weights else 'none at all'
        raise ValueError(
            f'{source}: none of its {total} weights ({known}) fits this '
            f'network:{text}'
        )
    if not allow_partial:
        raise ValueError(
            f'{source}: its weights are not those of this network:{text}'
            f'{advice}'
        )
    random = len(misfit.missing) + len(misfit.shapes)
    print_log(
        f'{source}: {fits} of its {total} weights are loaded, and {random} of '
        f'the network stay as they are:{text}',
        logger='current',
        level=logging.WARNING,
    )


def check_meaning(
    tasks: Mapping[str, Task],
    meta: Mapping,
    source: str,
    allow_partial: bool = False,
) -> None:
    """Compare a model's tasks with those that a checkpoint was trained for.

    Weights for other tasks, other classes, or for depth in another unit may
    fit in number and shape, but their predictions mean something else.

    Args:
        tasks: The model's.
        meta: The meta information of the checkpoint; what it does not say is
            not compared.
        source: Its file, for messages.
        allow_partial: Whether to warn instead.

    Raises:
        ValueError: A task means something else.
    """
    trained = trained_tasks(meta)
    problems = [
        f'tasks.{name}.{key} is {ours!r} in this run, but {theirs!r} in the '
        f'data that {source} was trained on'
        for name, args in trained.items()
        if name in tasks
        for key, ours, theirs in differences(tasks[name], args)
    ]
    # The weights of a task have its number among the names, not its name. The
    # data may have less tasks than the network, if they are wrapped.
    if len(trained) == len(tasks) and set(trained) != set(tasks):
        problems.append(
            f'tasks are {sorted(tasks)} in this run, but {sorted(trained)} in '
            f'the data that {source} was trained on'
        )
    if problems and not allow_partial:
        raise ValueError('\n'.join(problems))
    for problem in problems:
        print_log(problem, logger='current', level=logging.WARNING)


def differences(
    task: Task, trained: Mapping
) -> Iterator[tuple[str, object, object]]:
    """In what a task's labels differ from those that a network learnt.

    Args:
        task: The task of this run.
        trained: The arguments of the task that the network was trained for.

    Yields:
        Setting, its value in this run, and where it was trained; what one of
        them does not say is passed over.
    """
    try:
        meant = build_tasks({task.name: trained})[task.name].meaning()
    except (ValueError, TypeError, KeyError):
        # Of a version that knew other settings: what it says plainly.
        meant = dict(trained)
    for key, ours in task.meaning().items():
        theirs = meant.get(key)
        if key == 'type' or ours is None or theirs is None:
            continue
        if plain(ours) != plain(theirs):
            yield key, ours, theirs


def trained_tasks(meta: Mapping) -> dict[str, dict]:
    """What a checkpoint says of the tasks that it was trained for.

    Args:
        meta: Its meta information.

    Returns:
        Task -> arguments, as in a config; empty: it says nothing.
    """
    found = (meta.get('dataset_meta') or {}).get('tasks') or {}
    if not isinstance(found, Mapping):
        return {}
    return {name: dict(args or {}) for name, args in found.items()}


def first_names(names: Iterable[str], limit: int = 8, glue: str = ', ') -> str:
    """The first of some names, and how many there are."""
    given = list(names)
    more = f'{glue}... ({len(given)})' if len(given) > limit else ''
    return glue.join(given[:limit]) + more
