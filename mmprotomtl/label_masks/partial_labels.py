"""The setting ``partial_labels``: which labels of a data set are used."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mmprotomtl.utils.errors import check_choice

from .files import read_label_mask
from .mask import LabelMask
from .protocols import PROTOCOLS, Applicable, check_protocol, draw_label_mask

#: Name of the transform that takes the same arguments.
STEP = 'PartialAnnotation'


class PartialLabels:
    """Where a data set's label mask comes from: a file, or a protocol.

    Args:
        mask_file: A published mask, or a manifest of
            ``tools/label_masks.py``.
        protocol: How to draw a mask if there is no file: a key of
            :data:`~mmprotomtl.label_masks.PROTOCOLS`.
        seed: Seed of the drawing; None: 0.
        tasks: Tasks over which a protocol draws, where they are more than
            those that are trained: a single-task run that is to see the
            labels of the multi-task run names all of that run's tasks. None:
            those that are trained. A file says by itself what it is over.
        **options: Settings of the protocol: ``ratio=0.3``, ``budget=100``.

    Raises:
        ValueError: Both or neither of ``mask_file`` and ``protocol``, an
            unknown protocol, or settings that do not belong to it.
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
                    f'mask_file={os.fspath(mask_file)!r}, which says all of it'
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
        """Read the setting as a config or a command line has it.

        Args:
            given: The name of a protocol, the path of a mask file, or a dict
                of the arguments of this class.

        Raises:
            ValueError: It is none of these.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, str) and given in PROTOCOLS:
            return cls(protocol=given)
        if isinstance(given, (str, os.PathLike)):
            return cls(mask_file=given)
        if isinstance(given, Mapping):
            arguments = dict(given)
            # As a step of a pipeline, it may say what step it is.
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
            known_tasks: Names of all tasks that the data set has labels of,
                in the order of the columns of its published masks.
            applicable: Whether an image can have a label of a task.

        Raises:
            DataFileError: The file is missing, damaged, or of another data
                set; names the protocols, too.
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
