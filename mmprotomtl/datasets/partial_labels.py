"""Which image has labels of which task: published masks and protocols."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from mmprotomtl.utils.errors import DataFileError, choose

#: Tasks that an image can be given labels of at all: (sample, task) -> bool.
Applicable = Callable[[str, str], bool]


class LabelMask:
    """Which of a data set's tasks are labelled, image by image.

    Args:
        labelled: Sample id -> names of its labelled tasks.
        tasks: All the tasks that the mask speaks of.
        protocol: How it was drawn.
        seed: Seed that it was drawn with; None for a published file.
        source: Its file, if it came from one.
    """

    def __init__(
        self,
        labelled: Mapping[str, Sequence[str]],
        tasks: Sequence[str],
        protocol: str,
        seed: int | None = None,
        source: str | None = None,
    ) -> None:
        self.tasks = tuple(tasks)
        self.labelled = {
            sample: tuple(task for task in self.tasks if task in names)
            for sample, names in labelled.items()
        }
        self.protocol = protocol
        self.seed = seed
        self.source = source

    @property
    def sha256(self) -> str:
        """Hash of what is labelled, whatever the file's format."""
        rows = {sample: sorted(row) for sample, row in self.labelled.items()}
        text = json.dumps(rows, sort_keys=True, separators=(',', ':'))
        return hashlib.sha256(text.encode()).hexdigest()

    def counts(self) -> dict[str, int]:
        """Number of labelled images of each task."""
        rows = self.labelled.values()
        return {task: sum(task in row for row in rows) for task in self.tasks}

    def summary(self) -> dict:
        """What a log or a result file says of it."""
        return dict(
            protocol=self.protocol,
            seed=self.seed,
            source=self.source,
            images=len(self.labelled),
            labels=self.counts(),
            sha256=self.sha256,
        )


def _one_label(
    samples: Sequence[str],
    tasks: Sequence[str],
    applicable: Applicable,
    rng: np.random.Generator,
) -> dict[str, list[str]]:
    """A random partition of the images over the tasks, as equal as can be.

    Tasks that apply to fewest images choose first, as the published PASCAL
    masks do with people.
    """
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


def _random_label(
    samples: Sequence[str],
    tasks: Sequence[str],
    applicable: Applicable,
    rng: np.random.Generator,
) -> dict[str, list[str]]:
    """For each image k ~ uniform{1 .. K - 1} of its K tasks, never all."""
    labelled = {}
    for sample in samples:
        fits = [task for task in tasks if applicable(sample, task)]
        number = rng.integers(1, max(len(fits), 2))
        chosen = rng.permutation(len(fits))[:number]
        labelled[sample] = [fits[place] for place in chosen]
    return labelled


def _full(
    samples: Sequence[str],
    tasks: Sequence[str],
    applicable: Applicable,
    rng: np.random.Generator,
) -> dict[str, list[str]]:
    """Every label."""
    del applicable, rng
    return {sample: list(tasks) for sample in samples}


#: Protocol -> how it draws. A new protocol is a function in this table.
PROTOCOLS = {
    'one-label': _one_label,
    'random-label': _random_label,
    'full': _full,
}


def draw_label_mask(
    protocol: str,
    samples: Sequence[str],
    tasks: Sequence[str],
    seed: int = 0,
    applicable: Applicable = lambda sample, task: True,
) -> LabelMask:
    """Draw the labelled tasks of each image.

    Args:
        protocol: A key of :data:`PROTOCOLS`.
        samples: Ids of the images.
        tasks: Names of the tasks, in any order.
        seed: The same seed and arguments draw the same mask.
        applicable: Whether an image can have a label of a task.

    Raises:
        ValueError: The protocol is unknown.
    """
    choose('protocol', protocol, PROTOCOLS)
    tasks = sorted(tasks)
    rng = np.random.default_rng(seed)
    labelled = PROTOCOLS[protocol](samples, tasks, applicable, rng)
    labelled = {sample: labelled.get(sample, []) for sample in samples}
    drawn_with = None if protocol == 'full' else seed
    return LabelMask(labelled, tasks, protocol, drawn_with)


def read_label_mask(
    path: str, samples: Sequence[str], columns: Sequence[str]
) -> LabelMask:
    """Read a published mask of the MTAN-form data sets.

    Args:
        path: A torch file with ``labels_weights``, ``images x tasks``; a value
            above 0 is a label.
        samples: Ids of the data set's images, in the order of the rows.
        columns: Names of the tasks, in the order of the columns.

    Raises:
        DataFileError: It is damaged or of another data set.
    """
    if not Path(path).is_file():
        raise DataFileError(
            path,
            'no such label mask. Get the published one (labels_weights of '
            "MTPSL's code release, one per data set) and put it there, or "
            'draw one: partial_labels=dict(protocol="one-label", seed=0)',
        )
    try:
        table = torch.load(path, map_location='cpu', weights_only=True)
        table = torch.as_tensor(table['labels_weights']).float().numpy()
    except Exception as error:
        raise DataFileError(
            path,
            'not a label mask: expected a torch file with "labels_weights" '
            f'({type(error).__name__}: {error})',
        ) from error
    if table.shape != (len(samples), len(columns)):
        raise DataFileError(
            path,
            f'a mask of another data set: its table is {table.shape}, this '
            f'one has {len(samples)} images and the {len(columns)} tasks '
            f'{", ".join(columns)}',
        )
    labelled = {
        sample: [task for task, on in zip(columns, row, strict=True) if on > 0]
        for sample, row in zip(samples, table, strict=True)
    }
    return LabelMask(labelled, columns, 'file', source=path)
