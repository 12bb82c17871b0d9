"""What a picture of a task needs beside its map: its key and its errors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from mmprotomtl.utils.drawing import bar, blank, swatches


class Explained(ABC):
    """The part of a :class:`~mmprotomtl.tasks.Task` that explains its
    pictures, with defaults for tasks that say nothing of it.
    """

    label_channels: ClassVar[int]
    label_kind: str
    invalid: ClassVar[float]
    #: Whether its pictures can be laid over the photo: they leave most of it
    #: visible, or have few colours.
    over_photo: ClassVar[bool] = False
    #: The unit of :meth:`error`; empty: none, or it need not be said.
    error_unit: str = ''

    @abstractmethod
    def draw(self, value: np.ndarray) -> np.ndarray:
        """See :meth:`Task.draw`."""

    @abstractmethod
    def valid(self, label: Tensor) -> Tensor:
        """See :meth:`Task.valid`."""

    def on_one_scale(self, values: Sequence[np.ndarray]) -> Self:
        """A task that draws all of these maps on one scale.

        Args:
            values: Labels and predictions, ``L x H x W`` or ``P x H x W``.

        Returns:
            The task itself, if its colours do not depend on the picture.
        """
        del values
        return self

    def legend(self, values: Sequence[np.ndarray], width: int) -> np.ndarray:
        """Explain the colours of :meth:`draw`.

        The default shows a colour for each class in the maps, with its
        number, or else a bar from the least to the largest value; nothing
        where a pixel has several values.

        Args:
            values: The maps that it is drawn for, ``L x H x W`` or ``P x H x
                W``.
            width: Of the result in pixels.

        Returns:
            RGB picture, ``h x width x 3``; ``h`` may be 0.
        """
        if any(len(value) != 1 for value in values):
            return blank(0, width)
        found = np.concatenate([_finite(value) for value in values])
        known = found[found != self.invalid]
        key = blank(0, width)
        if known.size and self.label_kind == 'class':
            entries = [(self._colour(v), f'{v:g}') for v in np.unique(known)]
            key = swatches(entries, width)
        elif known.size:
            key = self.colour_bar(
                float(known.min()), float(known.max()), width
            )
        return np.vstack([key, self.unknown_key(values, width)])

    def colour_bar(
        self, low: float, high: float, width: int, unit: str = ''
    ) -> np.ndarray:
        """The colours of :meth:`draw` from a value to another, with both.

        Args:
            low: Value at the left end.
            high: Value at the right end.
            width: Of the result in pixels.
            unit: Of the values.

        Returns:
            RGB picture, ``h x width x 3``.
        """
        ramp = np.linspace(low, high, 128, dtype=np.float32)
        colours = self.draw(ramp[None, None])[0]
        return bar(
            colours, (f'{low:.3g}', f'{high:.3g} {unit}'.strip()), width
        )

    def unknown_key(
        self, values: Sequence[np.ndarray], width: int
    ) -> np.ndarray:
        """The colour of pixels without a value, where the maps have such.

        Args:
            values: The maps, ``L x H x W`` or ``P x H x W``.
            width: Of the result in pixels.

        Returns:
            RGB picture, ``h x width x 3``; ``h`` may be 0.
        """
        if not any((value == self.invalid).all(0).any() for value in values):
            return blank(0, width)
        return swatches([(self._colour(self.invalid), 'no value')], width)

    def _colour(self, value: float) -> np.ndarray:
        """RGB of a value that all channels have."""
        pixel = np.full((self.label_channels, 1, 1), value, np.float32)
        colour: np.ndarray = self.draw(pixel)[0, 0]
        return colour

    def error(self, pred: np.ndarray, label: np.ndarray) -> np.ndarray | None:
        """How wrong a prediction is at each pixel, in :attr:`error_unit`.

        The default is 1 where a class is wrong and 0 where it is right, or
        else the mean absolute difference of the channels.

        Args:
            pred: ``P x H x W``.
            label: ``L x H x W``.

        Returns:
            ``H x W`` float32, NaN where there is no label; None: prediction
            and label cannot be compared pixel by pixel.
        """
        if pred.shape != label.shape:
            return None
        if self.label_kind == 'class':
            wrong = (pred != label).any(0).astype(np.float32)
        else:
            difference = pred.astype(np.float32) - label.astype(np.float32)
            wrong = np.abs(difference).mean(0)
        return self.where_valid(wrong, label)

    def where_valid(self, values: np.ndarray, label: np.ndarray) -> np.ndarray:
        """``H x W`` values, NaN where a label ``L x H x W`` is not valid."""
        batch = torch.from_numpy(np.ascontiguousarray(label))[None]
        valid = self.valid(batch)[0].numpy()
        return np.where(valid, values, np.float32(np.nan)).astype(np.float32)


def _finite(value: np.ndarray) -> np.ndarray:
    """The values that are numbers, in a row."""
    found: np.ndarray = value[np.isfinite(value)]
    return found
