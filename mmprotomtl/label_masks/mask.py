"""The label mask: which image has labels of which task."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


class LabelMask:
    """The labelled tasks of each image of a data set.

    Args:
        labelled: Sample id -> names of its labelled tasks.
        tasks: Names of all tasks that the mask covers.
        protocol: Name of the protocol that drew it, or ``file``.
        seed: Seed of the protocol; None for a published file.
        source: Path of the mask file; None for a drawn mask.
        options: Settings of the protocol.
        parts: For a concatenation of data sets, the summary of each part's
            mask.
    """

    def __init__(
        self,
        labelled: Mapping[str, Sequence[str]],
        tasks: Sequence[str],
        protocol: str,
        seed: int | None = None,
        source: str | None = None,
        options: Mapping[str, Any] | None = None,
        parts: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.tasks = tuple(tasks)
        self.labelled = {
            sample: tuple(task for task in self.tasks if task in names)
            for sample, names in labelled.items()
        }
        self.protocol = protocol
        self.seed = seed
        self.source = source
        self.options = dict(options or {})
        self.parts = [dict(part) for part in parts]

    @property
    def sha256(self) -> str:
        """SHA-256 of the labelled tasks; independent of the file format."""
        rows = {sample: sorted(row) for sample, row in self.labelled.items()}
        text = json.dumps(rows, sort_keys=True, separators=(',', ':'))
        return hashlib.sha256(text.encode()).hexdigest()

    def counts(self) -> dict[str, int]:
        """Return task -> number of labelled images."""
        rows = self.labelled.values()
        return {task: sum(task in row for row in rows) for task in self.tasks}

    def labels_per_image(self) -> dict[int, int]:
        """Return a histogram: number of labels -> number of images."""
        return dict(sorted(Counter(map(len, self.labelled.values())).items()))

    def summary(self) -> dict[str, Any]:
        """Return protocol, seed, counts and hash, for logs and results."""
        result: dict[str, Any] = dict(
            protocol=self.protocol,
            seed=self.seed,
            source=self.source,
            images=len(self.labelled),
            labels=self.counts(),
            sha256=self.sha256,
        )
        if self.options:
            result['options'] = self.options
        if self.parts:
            result['parts'] = self.parts
        return result
