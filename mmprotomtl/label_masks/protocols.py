"""Protocols that draw label masks; each is a function in this module."""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np

from mmprotomtl.utils.errors import check_choice

from .mask import LabelMask

#: Function (sample id, task) -> whether the image can have a useful label.
Applicable = Callable[[str, str], bool]


def one_label(
    samples: Sequence[str],
    tasks: Sequence[str],
    applicable: Applicable,
    seed: int,
) -> dict[str, list[str]]:
    """Give each image one label; each task gets an equal share of images.

    Tasks that apply to the fewest images draw theirs first, so that they get
    their full share (as human parts in the published PASCAL-Context masks).
    This is the one-label protocol of MTPSL.
    """
    rng = np.random.default_rng(seed)
    fits = {t: [s for s in samples if applicable(s, t)] for t in tasks}
    sizes = [len(part) for part in np.array_split(samples, len(tasks))]
    quota = dict(zip(tasks, sizes, strict=True))
    rank = {task: place for place, task in enumerate(tasks)}
    labelled: dict[str, list[str]] = {}
    for task in sorted(tasks, key=lambda t: (len(fits[t]), rank[t])):
        free = [sample for sample in fits[task] if sample not in labelled]
        chosen = rng.permutation(len(free))[: quota[task]]
        labelled.update({free[place]: [task] for place in chosen})
    return labelled


def random_label(
    samples: Sequence[str],
    tasks: Sequence[str],
    applicable: Applicable,
    seed: int,
) -> dict[str, list[str]]:
    """Give each image k of its K tasks, k drawn uniformly from 1 .. K - 1.

    This is the random-label protocol of MTPSL.
    """
    rng = np.random.default_rng(seed)
    labelled = {}
    for sample in samples:
        fits = [task for task in tasks if applicable(sample, task)]
        number = rng.integers(1, max(len(fits), 2))
        chosen = rng.permutation(len(fits))[:number]
        labelled[sample] = [fits[place] for place in chosen]
    return labelled


def full(
    samples: Sequence[str],
    tasks: Sequence[str],
    applicable: Applicable,
    seed: int,
) -> dict[str, list[str]]:
    """Keep every label."""
    del seed
    return {
        sample: [task for task in tasks if applicable(sample, task)]
        for sample in samples
    }


def _of_task(seed: int, task: str) -> np.random.Generator:
    """Make a generator per task, so that adding tasks changes no other."""
    return np.random.default_rng([seed, *task.encode()])


def ratio(
    samples: Sequence[str],
    tasks: Sequence[str],
    applicable: Applicable,
    seed: int,
    ratio: float,
) -> dict[str, list[str]]:
    """Keep each label independently with probability ``ratio``.

    Raises:
        ValueError: ``ratio`` is not above 0 and at most 1.
    """
    number = isinstance(ratio, (int, float)) and not isinstance(ratio, bool)
    if not number or not 0 < ratio <= 1:
        raise ValueError(
            f'ratio={ratio!r} is not allowed: the fraction of labels to keep '
            'must be above 0 and at most 1'
        )
    labelled: dict[str, list[str]] = {sample: [] for sample in samples}
    for task in tasks:
        kept = _of_task(seed, task).random(len(samples)) < ratio
        for sample, keep in zip(samples, kept, strict=True):
            if keep and applicable(sample, task):
                labelled[sample].append(task)
    return labelled


def budget(
    samples: Sequence[str],
    tasks: Sequence[str],
    applicable: Applicable,
    seed: int,
    budget: int | Mapping[str, int],
) -> dict[str, list[str]]:
    """Keep a fixed number of labels per task, drawn independently.

    Args:
        samples: Ids of the images.
        tasks: Names of the tasks.
        applicable: Whether an image can have a label of a task.
        seed: Random seed.
        budget: Number of labels of each task, or task -> number.

    Raises:
        ValueError: ``budget`` lacks a task, has an unknown one, or exceeds the
            number of images that can be labelled.
    """
    numbers = (
        dict(budget)
        if isinstance(budget, Mapping)
        else dict.fromkeys(tasks, budget)
    )
    whole = all(type(number) is int for number in numbers.values())
    if set(numbers) != set(tasks) or not whole:
        raise ValueError(
            f'budget={numbers} is not allowed: give one integer, or one for '
            f'each of the tasks {", ".join(tasks)}'
        )
    labelled: dict[str, list[str]] = {sample: [] for sample in samples}
    for task in tasks:
        fits = [sample for sample in samples if applicable(sample, task)]
        if not 0 <= numbers[task] <= len(fits):
            raise ValueError(
                f'budget of {task!r}: {numbers[task]} is not allowed, choose '
                f'0 .. {len(fits)}, the number of images that can be labelled'
            )
        chosen = _of_task(seed, task).permutation(len(fits))[: numbers[task]]
        for place in chosen:
            labelled[fits[place]].append(task)
    return labelled


#: Name of a protocol -> its function. Parameters after the first four are the
#: options of the protocol.
PROTOCOLS: dict[str, Callable[..., dict[str, list[str]]]] = {
    'one-label': one_label,
    'random-label': random_label,
    'ratio': ratio,
    'budget': budget,
    'full': full,
}


def check_protocol(protocol: str, options: Mapping[str, Any]) -> None:
    """Check the name of a protocol and the names of its options.

    Raises:
        ValueError: The protocol is unknown, or an option is unknown or
            missing.
    """
    check_choice('protocol', protocol, PROTOCOLS)
    known = list(signature(PROTOCOLS[protocol]).parameters)[4:]
    if sorted(options) != sorted(known):
        example = ''.join(f', {name}=...' for name in known)
        raise ValueError(
            f'protocol {protocol!r} has the options {known}, but '
            f'{dict(options)} was given: write '
            f'dict(protocol={protocol!r}{example}, seed=0)'
        )


def draw_label_mask(
    protocol: str,
    samples: Sequence[str],
    tasks: Sequence[str],
    seed: int = 0,
    applicable: Applicable = lambda sample, task: True,
    **options: Any,
) -> LabelMask:
    """Draw the labelled tasks of each image.

    Args:
        protocol: A key of :data:`PROTOCOLS`.
        samples: Ids of the images.
        tasks: Names of the tasks, in any order.
        seed: The same seed and arguments draw the same mask.
        applicable: Whether an image can have a label of a task.
        **options: Settings of the protocol: ``ratio`` for protocol ``ratio``,
            ``budget`` for protocol ``budget``.

    Raises:
        ValueError: The protocol is unknown, or a setting is not allowed.
    """
    check_protocol(protocol, options)
    if type(seed) is not int or seed < 0:
        raise ValueError(f'seed={seed!r} is not allowed: give an integer >= 0')
    tasks = sorted(tasks)
    draw = PROTOCOLS[protocol]
    labelled = draw(samples, tasks, applicable, seed, **options)
    labelled = {sample: labelled.get(sample, []) for sample in samples}
    drawn_with = None if protocol == 'full' else seed
    return LabelMask(labelled, tasks, protocol, drawn_with, None, options)
