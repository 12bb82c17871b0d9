"""What the inferencer returns of one image."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mmprotomtl.tasks import OutputInfo, Task


class TrainingData(NamedTuple):
    """What a checkpoint says of the data that its weights were trained on.

    Attributes:
        datasets: Classes of the data sets; empty: it does not say.
        data_roots: Folders that they were read from, where they have one.
        input_shape: Height and width in pixels that the config gives the
            network's images, None: it says none.
    """

    datasets: tuple[str, ...] = ()
    data_roots: tuple[str, ...] = ()
    input_shape: tuple[int, int] | None = None


class MultiTaskResult(dict[str, np.ndarray]):
    """The predictions of one image: task -> array ``P x H x W``.

    A task is a key and an attribute: ``result['depth']`` and
    ``result.depth`` are the same array. Depth has one channel (``1 x H x
    W``), classes are one channel of whole numbers, normals three.

    Attributes:
        info: Task -> unit, classes, palette and range of values
            (:class:`~mmprotomtl.tasks.OutputInfo`).
        shape: Height and width of the maps in pixels.
        photo_shape: Height and width of the photo as it was given, upright;
            larger than ``shape`` where the photo was reduced.
        path: The file, or ``array``, ``tensor``, ...
        name: The name of the output files of this image.
        picture: The drawing, RGB uint8 ``H x W x 3``; None: not asked for.
        trained_on: What data the weights were trained on. A photograph that
            is unlike them gets predictions that mean little.
        files: Files that were written of this image.
    """

    def __init__(
        self,
        maps: Mapping[str, np.ndarray],
        info: Mapping[str, OutputInfo],
        photo_shape: tuple[int, int],
        path: str = '',
        name: str = '',
        trained_on: TrainingData | None = None,
    ) -> None:
        super().__init__(maps)
        self.info = dict(info)
        self.shape: tuple[int, int] = next(iter(maps.values())).shape[-2:]
        self.photo_shape = photo_shape
        self.path = path
        self.name = name
        self.trained_on = trained_on or TrainingData()
        self.picture: np.ndarray | None = None
        self.files: list[str] = []

    def __getattr__(self, name: str) -> np.ndarray:
        """The map of a task."""
        if name in self:
            return self[name]
        raise AttributeError(
            f'{name!r} is neither a task of this network ({", ".join(self)}) '
            'nor an attribute of a result'
        )

    def __repr__(self) -> str:
        parts = [
            f'{name}: {"x".join(map(str, value.shape))}'
            f'{f" {self.info[name].unit}" if self.info[name].unit else ""}'
            for name, value in self.items()
        ]
        return f'MultiTaskResult({self.path}, {", ".join(parts)})'

    @property
    def nbytes(self) -> int:
        """Bytes of the maps and of the picture."""
        held = 0 if self.picture is None else self.picture.nbytes
        return held + sum(value.nbytes for value in self.values())


def infos(tasks: Mapping[str, Task]) -> dict[str, OutputInfo]:
    """Task -> what its predictions mean."""
    return {name: task.output_info() for name, task in tasks.items()}


def training_data(
    stored: Any, input_shape: tuple[int, int] | None
) -> TrainingData:
    """What a stored config says of the data of the training.

    Args:
        stored: The data sets of the config, without their wrappers; None: the
            checkpoint holds no config.
        input_shape: See :class:`TrainingData`.
    """
    parts = [part for part in stored or () if isinstance(part, Mapping)]
    kinds = [part.get('type') for part in parts]
    names = [k if isinstance(k, str) else getattr(k, '__name__', '?')
             for k in kinds]  # fmt: skip
    roots = [str(part['data_root']) for part in parts if part.get('data_root')]
    return TrainingData(
        tuple(dict.fromkeys(names)), tuple(dict.fromkeys(roots)), input_shape
    )
