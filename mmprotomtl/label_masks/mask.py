"""Which image has labels of which task."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


class LabelMask:
    """Which of a data set's tasks are labelled, image by image.

    Args:
        labelled: Sample id -> names of its labelled tasks.
        tasks: All the tasks that the mask speaks of.
        protocol: How it was drawn.
        seed: Seed that it was drawn with; None for a published file.
        source: Its file, if it came from one.
        options: Settings of the protocol.
        parts: If it is of several data sets, the summary of each one's mask.
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
        """Hash of what is labelled, whatever the file's format."""
        rows = {sample: sorted(row) for sample, row in self.labelled.items()}
        text = json.dumps(rows, sort_keys=True, separators=(',', ':'))
        return hashlib.sha256(text.encode()).hexdigest()

    def counts(self) -> dict[str, int]:
        """Number of labelled images of each task."""
        rows = self.labelled.values()
        return {task: sum(task in row for row in rows) for task in self.tasks}

    def labels_per_image(self) -> dict[int, int]:
        """Number of labels -> images that have so many, ascending."""
        return dict(sorted(Counter(map(len, self.labelled.values())).items()))

    def summary(self) -> dict[str, Any]:
        """What a log or a result file says of it."""
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
