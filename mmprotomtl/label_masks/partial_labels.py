"""The setting ``partial_labels``, which chooses the labels to use."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mmprotomtl.utils.errors import check_choice

from .files import read_label_mask
from .mask import LabelMask
from .protocols import PROTOCOLS, Applicable, check_protocol, draw_label_mask

#: Name of the transform with the arguments of :class:`PartialLabels`.
STEP = 'PartialAnnotation'


class PartialLabels:
    """The source of a data set's label mask: a file or a protocol.

    Args:
        mask_file: Path of a published mask, or of a manifest of
            ``tools/label_masks.py``.
        protocol: Protocol that draws the mask, a key of
            :data:`~mmprotomtl.label_masks.PROTOCOLS`. Give either this or
            ``mask_file``.
        seed: Seed of the protocol; None: 0.
        tasks: Tasks over which the protocol draws labels; None: the trained
            tasks. To train a single task with the same labels as a multi-task
            run, give all tasks of that run. Ignored for a mask file, which has
            its own tasks.
        **options: Settings of the protocol: ``ratio=0.3``, ``budget=100``.

    Raises:
        ValueError: Both or neither of ``mask_file`` and ``protocol`` are
            given, the protocol is unknown, or a setting is not one of it.
    """

    def __init__(
        self,
        mask_file: str | os.PathLike[str] | None = None,
        protocol: str | None = None,
        seed: int | None = None,
        tasks: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        if (mask_file is None) == (protocol is None):
            raise ValueError(
                f'partial_labels: mask_file={mask_file!r} and '
                f'protocol={protocol!r} are given'
                + (f' beside {options}' if options else '')
                + '; give one of the two'
            )
        if mask_file is not None:
            if seed is not None:
                options['seed'] = seed
            if options:
                raise ValueError(
                    f'partial_labels: {options} is not allowed beside '
                    f'mask_file={os.fspath(mask_file)!r}: a file has no seed '
                    'and no options'
                )
            self.mask_file: str | None = os.fspath(mask_file)
        else:
            assert protocol is not None
            check_protocol(protocol, options)
            self.mask_file = None
        self.protocol = protocol
        self.seed = 0 if seed is None else seed
        self.tasks = tasks
        self.options = options

    @classmethod
    def parse(cls, given: Any) -> 'PartialLabels':
        """Make an instance from the value in a config or on a command line.

        Args:
            given: The name of a protocol, the path of a mask file, or a dict
                of arguments of this class.

        Raises:
            ValueError: ``given`` is none of these.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, str) and given in PROTOCOLS:
            return cls(protocol=given)
        if isinstance(given, (str, os.PathLike)):
            return cls(mask_file=given)
        if isinstance(given, Mapping):
            arguments = dict(given)
            # A dict copied from a step of a pipeline also has its type.
            kind = arguments.pop('type', STEP)
            check_choice(
                'partial_labels.type', kind, (STEP, f'mmprotomtl.{STEP}')
            )
            return cls(**arguments)
        raise ValueError(
            f'partial_labels={given!r} is not allowed: give one of the '
            f'protocols {", ".join(PROTOCOLS)}, the path of a mask file, or '
            'a dict such as dict(protocol="one-label", seed=0)'
        )

    def label_mask(
        self,
        samples: Sequence[str],
        tasks: Sequence[str],
        known_tasks: Sequence[str],
        applicable: Applicable,
    ) -> LabelMask:
        """Read or draw the mask for the images of a data set.

        Args:
            samples: Ids of the images, in the order of the data set.
            tasks: Names of the tasks that are trained.
            known_tasks: Names of all tasks with labels in the data set, in
                the order of the columns of its published masks.
            applicable: Function of sample id and task: whether the image can
                have a label of the task.

        Raises:
            DataFileError: The mask file is missing, damaged, or belongs to
                another data set.
            ValueError: The settings of the protocol are wrong.
        """
        unknown = [t for t in self.tasks or () if t not in known_tasks]
        if unknown:
            raise ValueError(
                f'partial_labels.tasks names {", ".join(unknown)}, of which '
                f'the data set has no labels; it has {", ".join(known_tasks)}'
            )
        if self.protocol is not None:
            return draw_label_mask(
                self.protocol,
                samples,
                self.tasks or tasks,
                self.seed,
                applicable,
                **self.options,
            )
        assert self.mask_file is not None
        return read_label_mask(self.mask_file, samples, known_tasks)

    def __repr__(self) -> str:
        shown: dict[str, Any] = dict(
            mask_file=self.mask_file, protocol=self.protocol
        )
        if self.protocol is not None:
            shown.update(seed=self.seed, tasks=self.tasks, **self.options)
        text = ', '.join(
            f'{name}={value!r}'
            for name, value in shown.items()
            if value is not None
        )
        return f'{type(self).__name__}({text})'
