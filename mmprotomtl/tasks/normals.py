"""Surface normals."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from torch import Tensor
from torch.nn import functional as F

from mmprotomtl.registry import TASKS
from mmprotomtl.utils.drawing import LINE, blank, text_width, write

from .base import Task, masked_mean
from .output import OutputInfo


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Normalise vectors along the last axis; those without a length, or with
    a component that is NaN or infinite, become 0.
    """
    vectors = np.asarray(vectors).astype(np.float32)
    finite = np.isfinite(vectors).all(-1, keepdims=True)
    vectors = np.where(finite, vectors, 0)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-3, vectors / np.maximum(length, 1e-3), 0)


@TASKS.register_module(name='normals')
class NormalsTask(Task):
    """Unit normals in the camera frame (x right, y down, z forward).

    Label: (0, 0, 0) = unknown. Loss: L1 of the L2-normalised output, summed
    over the three channels, mean over valid pixels. Mirroring and turning the
    image mirror and turn the vectors.
    """

    label_channels: ClassVar[int] = 3
    label_dtype: ClassVar[type] = np.float32
    invalid: ClassVar[float] = 0.0
    label_kind: str = 'measure'
    fit_interpolation: ClassVar[int] = cv2.INTER_CUBIC
    default_weight: ClassVar[float] = 10.0
    metric_directions: ClassVar[Mapping[str, bool]] = {
        'mErr': False,
        'rmse': False,
        'within_11.25': True,
        'within_22.5': True,
        'within_30': True,
    }
    default_metric: ClassVar[str] = 'mErr'
    made_of: ClassVar[str | None] = 'normals'
    error_unit: str = 'degrees'

    @property
    def out_channels(self) -> int:
        """The three components, before normalisation."""
        return 3

    def check_values(self, label: np.ndarray, path: str) -> np.ndarray:
        """Normalise; NaN and zero vectors are unknown normals."""
        del path
        return unit_vectors(label).astype(np.float32)

    def describe(self, label: np.ndarray, raw: np.ndarray) -> dict[str, Any]:
        """Add the sum of the lengths that the known vectors had on disk."""
        known = (label != self.invalid).any(-1)
        length = np.linalg.norm(raw[known].astype(np.float64), axis=-1)
        length = float(length[np.isfinite(length)].sum())
        return dict(super().describe(label, raw), length=length)

    def summarise(self, described: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Add the mean length on disk."""
        length = sum(item['length'] for item in described)
        valid = sum(item['valid'] for item in described)
        mean = length / max(valid, 1)
        return dict(super().summarise(described), mean_length=mean)

    def plausible(self, summary: dict[str, Any]) -> list[str]:
        """Vectors have length 1."""
        doubts = super().plausible(summary)
        if summary['valid'] and not 0.9 < summary['mean_length'] < 1.1:
            doubts.append(
                f'the mean length of a normal is {summary["mean_length"]:.4g}'
                '; unit vectors are expected'
            )
        return doubts

    def value_map(
        self, flip: str | None = None, angle: float = 0.0, scale: float = 1.0
    ) -> np.ndarray | None:
        """Mirror the vector with the image, then turn it."""
        if flip is None and angle == 0:
            return None
        matrix = np.eye(3)
        if flip in ('horizontal', 'diagonal'):
            matrix[0, 0] = -1
        if flip in ('vertical', 'diagonal'):
            matrix[1, 1] = -1
        # y points down: counter-clockwise to the eye is a turn by -angle.
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        return turn @ matrix

    def resize_label(
        self,
        label: np.ndarray,
        size: tuple[int, int],
        interpolation: int | None = None,
    ) -> np.ndarray:
        """Resize, and normalise what interpolation shortened."""
        return unit_vectors(super().resize_label(label, size, interpolation))

    def valid(self, label: Tensor) -> Tensor:
        """Where the vector is not zero."""
        return label.square().sum(1) > 0.25

    def loss(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """L1 over three channels, mean over each image's valid pixels."""
        unit = F.normalize(logits, dim=1)
        return masked_mean((unit - label).abs().sum(1), self.valid(label))

    def predict(self, logits: Tensor) -> Tensor:
        """Unit vectors, ``N x 3 x H x W``."""
        return F.normalize(logits, dim=1)

    def output_info(self) -> OutputInfo:
        """Components of a unit vector."""
        unit = 'unit vector (x right, y down, z forward)'
        return OutputInfo(unit, value_range=(-1.0, 1.0))

    def undo_view(
        self, logits: Tensor, flip: str | None, scale: float
    ) -> Tensor:
        """Unit vectors, turned back: every view weighs the same."""
        return super().undo_view(F.normalize(logits, dim=1), flip, scale)

    def default_measures(self) -> list[dict[str, Any]]:
        """Angular error in degrees, pooled over pixels."""
        return [dict(type='AngularError')]

    def draw(self, value: np.ndarray) -> np.ndarray:
        """Red, green, blue for right, down, forward."""
        picture = ((value + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
        picture[:, (value == 0).all(0)] = 0
        return picture.transpose(1, 2, 0)

    def legend(self, values: Sequence[np.ndarray], width: int) -> np.ndarray:
        """A ball as the camera sees it: a surface has the colour of the side
        of the ball that faces the same way.
        """
        side = 61
        ball = self.draw(_ball(side))
        ball[np.hypot(*_offsets(side)) > 1] = 255
        above, below = 'faces up', 'faces down'
        picture = blank(side + 2 * LINE, width)
        left = (width - side) // 2
        picture[LINE : LINE + side, left : left + side] = ball
        middle = LINE + side // 2 - LINE // 2
        for words, x, y in (
            (above, (width - text_width(above)) // 2, 0),
            (below, (width - text_width(below)) // 2, LINE + side),
            ('left', left - text_width('left') - 4, middle),
            ('right', left + side + 4, middle),
        ):
            write(picture, words, x, y)
        return np.vstack([picture, self.unknown_key(values, width)])

    def error(self, pred: np.ndarray, label: np.ndarray) -> np.ndarray | None:
        """The angle between the two vectors, in degrees."""
        if pred.shape != label.shape:
            return None
        lengths = np.linalg.norm(pred, axis=0) * np.linalg.norm(label, axis=0)
        cosine = (pred * label).sum(0) / np.maximum(lengths, 1e-6)
        angle = np.degrees(np.arccos(cosine.clip(-1, 1)))
        return self.where_valid(angle, label)


def _offsets(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each pixel of a square from its middle, right and down, in units of
    half its side: two arrays ``side x side``.
    """
    down, right = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    return right, down


def _ball(side: int) -> np.ndarray:
    """The normals of a ball before the camera, ``3 x side x side``; those
    outside of it are 0.
    """
    right, down = _offsets(side)
    towards = 1 - right**2 - down**2
    normals = np.stack([right, down, -np.sqrt(towards.clip(0))])
    return np.where(towards >= 0, normals, 0).astype(np.float32)
