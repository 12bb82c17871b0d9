"""Depth."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import cv2
import numpy as np
from torch import Tensor

from mmprotomtl.registry import TASKS
from mmprotomtl.utils.camera import Camera, normals_from_depth

from .base import Task, masked_mean
from .output import OutputInfo
from .surface import inner, neighbours, surface_normals


@TASKS.register_module(name='depth')
class DepthTask(Task):
    """Distance along the optical axis in metres (or disparity), 0 = unknown.

    Loss: L1 over valid pixels. Enlarging the image by s brings the scene
    nearer: depth is divided by s.

    Args:
        unit: What the values are, for tables and drawings; ``disparity``
            (inverse depth, Cityscapes in the MTAN form) grows with a zoom
            instead of shrinking.
        draw_range: Values at the two ends of the colour map; None: those of
            the picture drawn.
        slope_weight: Factor of a second loss, on images that have a label of
            normals and none of depth: the visible normals against those of
            the predicted surface, see :meth:`guide_loss`. It needs the
            camera's intrinsics and ``metres``. 0: without.

    Raises:
        ValueError: ``slope_weight`` is negative, or it is given for a
            disparity.
    """

    label_dtype: ClassVar[type] = np.float32
    invalid: ClassVar[float] = 0.0
    label_kind: str = 'measure'
    metric_directions: ClassVar[Mapping[str, bool]] = {
        'RMSE': False,
        'absErr': False,
        'relErr': False,
    }
    default_metric: ClassVar[str] = 'RMSE'
    guided_by: ClassVar[str | None] = 'normals'
    label_settings: ClassVar[Sequence[str]] = ('unit',)
    shown_settings: ClassVar[Sequence[str]] = ('draw_range',)
    #: Metres below which the loss of the slope takes no depth.
    NEAREST: ClassVar[float] = 0.1
    #: Cosine of the greatest angle between normals of one plane.
    PLANE: ClassVar[float] = 0.906
    #: Unit -> medians that a data set's images can have.
    PLAUSIBLE: ClassVar[Mapping[str, tuple[float, float]]] = {
        'metres': (0.3, 30.0)
    }

    def __init__(
        self,
        unit: str = 'metres',
        draw_range: tuple[float, float] | None = None,
        slope_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if slope_weight < 0 or (slope_weight and unit == 'disparity'):
            raise ValueError(
                f'tasks.{self.name}.slope_weight={slope_weight!r} with unit='
                f'{unit!r} is not allowed: choose 0 or more, and 0 for '
                'disparity, of whose surface the normals are not known'
            )
        self.guide_weight = slope_weight
        self.unit = self.error_unit = unit
        self.draw_range = draw_range

    @property
    def out_channels(self) -> int:
        """The depth itself."""
        return 1

    def check_values(self, label: np.ndarray, path: str) -> np.ndarray:
        """NaN, infinite and non-positive depth is unknown depth."""
        del path
        label = label.astype(np.float32)
        known = np.isfinite(label) & (label > 0)
        return np.where(known, label, np.float32(self.invalid))

    def describe(self, label: np.ndarray, raw: np.ndarray) -> dict[str, Any]:
        """Add median, least and largest of the known values."""
        known = label[label != self.invalid]
        some = dict(
            median=float(np.median(known)),
            least=float(known.min()),
            largest=float(known.max()),
        ) if known.size else {}  # fmt: skip
        return {**super().describe(label, raw), **some}

    def summarise(self, described: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Add the median of the images' medians, least and largest value."""
        summary = dict(super().summarise(described), unit=self.unit)
        known = [item for item in described if 'median' in item]
        if known:
            median = float(np.median([item['median'] for item in known]))
            summary['median'] = median
            summary['least'] = min(item['least'] for item in known)
            summary['largest'] = max(item['largest'] for item in known)
        return summary

    def plausible(self, summary: dict[str, Any]) -> list[str]:
        """Metres look like metres, not like millimetres or shares."""
        doubts = super().plausible(summary)
        bounds = self.PLAUSIBLE.get(self.unit)
        if bounds and 'median' in summary:
            low, high = bounds
            if not low <= summary['median'] <= high:
                doubts.append(
                    f'the median is {summary["median"]:.4g} {self.unit}; '
                    f'plausible are {low} .. {high}: is it another unit?'
                )
        return doubts

    def value_map(
        self, flip: str | None = None, angle: float = 0.0, scale: float = 1.0
    ) -> np.ndarray | None:
        """Depth divided (disparity multiplied) by the zoom."""
        if scale == 1:
            return None
        factor = scale if self.unit == 'disparity' else 1 / scale
        return np.full((1, 1), factor)

    def implies(self, has_camera: bool) -> Mapping[str, str]:
        """Normals, by the camera's intrinsics; disparity has no scale."""
        if self.unit == 'disparity':
            lacks = f'tasks.{self.name}.unit is disparity, not metres'
        else:
            lacks = '' if has_camera else 'the intrinsics, `camera`'
        return dict(normals=lacks)

    def imply(
        self, what: str, label: np.ndarray, camera: Camera | None
    ) -> np.ndarray:
        """Fit a plane to the 5 x 5 samples around each pixel, which are a
        160th of the image's width apart: with noisy depth, samples that are
        nearer to each other say less of a slope, and those that are farther
        belong to another surface. Where no plane fits, as at the border of an
        object, no normal follows.
        """
        assert what == 'normals' and camera is not None
        step = max(1, round(label.shape[1] / 160))
        return normals_from_depth(
            label,
            camera,
            radius=2 * step,
            step=step,
            tolerance=0.5,
            misfit=0.05,
        )

    def guide_loss(
        self, logits: Tensor, label: Tensor, rays: Tensor
    ) -> tuple[Tensor, Tensor]:
        """1 - cosine of the angle between the normals of the predicted surface
        and the visible ones, mean over pixels of a plane.

        The predicted surface is spanned by the points at some pixels to the
        right and left and above and below, a 128th of the image's width away.
        A pixel counts if the visible normals there and at these four differ by
        less than 25 degrees. Depth is taken for at least :data:`NEAREST`
        metres. At a depth edge the surface that is spanned is large, so that
        its direction, and with it the gradient, changes little with depth.
        """
        step = max(1, round(label.shape[-1] / 128))
        valid = (label.square().sum(1) > 0.25) & (rays[:, 2] > 0)
        # Points are in units of the depth along the optical axis.
        ray = rays / rays[:, 2:].clamp(min=1e-3)
        normal, fits = surface_normals(
            logits.clamp(min=self.NEAREST) * ray, step
        )
        near = neighbours(label, step)
        centre = inner(label, step)
        for part in near:
            fits = fits & ((part * centre).sum(1) > self.PLANE)
        for part in (inner(valid, step), *neighbours(valid, step)):
            fits = fits & part
        return masked_mean(1 - (normal * centre).sum(1), fits)

    def loss(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """L1, mean over each image's valid pixels."""
        return masked_mean(
            (logits[:, 0] - label[:, 0]).abs(), self.valid(label)
        )

    def predict(self, logits: Tensor) -> Tensor:
        """Depth, ``N x 1 x H x W``, not negative."""
        return logits.clamp(min=0)

    def output_info(self) -> OutputInfo:
        """The unit, and the range that the data set draws depth in."""
        given = self.draw_range
        known = None if given is None else (float(given[0]), float(given[1]))
        return OutputInfo(self.unit, value_range=known)

    def default_measures(self) -> list[dict[str, Any]]:
        """RMSE, absolute and relative error, pooled over pixels."""
        return [dict(type='RegressionError')]

    def draw(self, value: np.ndarray) -> np.ndarray:
        """Near is warm, far is cold (for disparity the other way round)."""
        value = value[0].astype(np.float32)
        known = value > 0
        low, high = self.draw_range or _ends([value])
        level = np.clip((value - low) / max(high - low, 1e-6), 0, 1)
        level = level if self.unit == 'disparity' else 1 - level
        picture = cv2.applyColorMap(
            (level * 255).astype(np.uint8), cv2.COLORMAP_TURBO
        )[..., ::-1].copy()
        picture[~known] = 0
        return picture

    def on_one_scale(self, values: Sequence[np.ndarray]) -> Self:
        """Without a ``draw_range``, all are drawn from the least to the
        largest value in any of them.
        """
        task = copy.copy(self)
        task.draw_range = self.draw_range or _ends(values)
        return task

    def legend(self, values: Sequence[np.ndarray], width: int) -> np.ndarray:
        """A bar of the colours, with its ends in the unit of the task."""
        ends = self.draw_range or _ends(values)
        scale = self.on_one_scale(values).colour_bar(*ends, width, self.unit)
        return np.vstack([scale, self.unknown_key(values, width)])


def _ends(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """The least and the largest known value of some maps."""
    known = np.concatenate([value[value > 0] for value in values])
    return (float(known.min()), float(known.max())) if known.size else (0, 1)
