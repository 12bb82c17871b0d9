"""Cameras, and the surface normals that follow from depth."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Camera(NamedTuple):
    """Intrinsics of a pinhole camera without distortion.

    The centre of the top left pixel is (0, 0).

    Attributes:
        fx: Horizontal focal length, in pixels.
        fy: Vertical focal length, in pixels.
        cx: Column of the principal point.
        cy: Row of the principal point.
        size: Height and width of the images that these numbers are of; None:
            of those at hand.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    size: tuple[int, int] | None = None

    def at(self, size: tuple[int, int]) -> 'Camera':
        """The camera of the same view, resized.

        Args:
            size: Height and width of the resized images.

        Raises:
            ValueError: The proportions are others, so that the images are no
                resized view of the whole frame.
        """
        if self.size is None or tuple(self.size) == tuple(size):
            return self._replace(size=(size[0], size[1]))
        rows, cols = size[0] / self.size[0], size[1] / self.size[1]
        # Sizes are whole numbers, so a resize changes proportions a little.
        if abs(rows / cols - 1) > max(0.005, 1 / min(size)):
            raise ValueError(
                f'the camera is known for images of {_text(self.size)} pixels '
                f'(height x width), but these are {_text(size)}, which is no '
                'resized view of the whole frame: set `camera` of the data '
                'set to fx, fy, cx, cy and size of its own images'
            )
        return Camera(
            self.fx * cols,
            self.fy * rows,
            # The corner of the image stays, not the centre of its pixel.
            (self.cx + 0.5) * cols - 0.5,
            (self.cy + 0.5) * rows - 0.5,
            (size[0], size[1]),
        )

    def rays(self) -> np.ndarray:
        """Unit vectors from the camera through the centres of the pixels,
        ``H x W x 3`` float32, in the camera frame (x right, y down, z
        forward).
        """
        assert self.size is not None
        height, width = self.size
        ray = np.ones((height, width, 3))
        ray[..., 0] = (np.arange(width) - self.cx) / self.fx
        ray[..., 1] = (np.arange(height)[:, None] - self.cy) / self.fy
        ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
        return ray.astype(np.float32)

    def cropped(
        self, top: int, bottom: int, left: int, right: int
    ) -> 'Camera':
        """The camera of a part of the image, from ``top`` to ``bottom - 1``
        and from ``left`` to ``right - 1``.
        """
        return self._replace(
            cx=self.cx - left,
            cy=self.cy - top,
            size=(bottom - top, right - left),
        )


def parse_camera(camera: Mapping[str, Any]) -> Camera:
    """Return the intrinsics that a config gives.

    Raises:
        ValueError: One is missing or no positive number.
    """
    keys = set(Camera._fields)
    size = camera.get('size')
    if (
        set(camera) != keys
        or not isinstance(size, Sequence)
        or len(size) != 2
        or not all(
            isinstance(value, (int, float)) and value > 0
            for value in (camera['fx'], camera['fy'], *size)
        )
    ):
        raise ValueError(
            f'camera={dict(camera)!r} is not allowed: give dict(fx=, fy=, '
            'cx=, cy=, size=(height, width)), in pixels of images of that '
            'size, the centre of the top left pixel being (0, 0)'
        )
    return Camera(**{**camera, 'size': tuple(size)})


def _text(size: tuple[int, int]) -> str:
    return f'{size[0]} x {size[1]}'


def normals_from_depth(
    depth: np.ndarray,
    camera: Camera,
    radius: int = 9,
    step: int = 3,
    tolerance: float = 0.05,
    least: float = 0.3,
    misfit: float | None = None,
) -> np.ndarray:
    """Estimate surface normals by fitting a plane around each pixel.

    1 / depth is fitted by least squares as a linear function of the pixel
    coordinates. For a plane this function is exactly linear, and for depth
    cameras with structured light the noise of 1 / depth is uniform, because
    they measure disparity.

    Args:
        depth: Metres along the optical axis, 0 = unknown, ``H x W``.
        camera: Intrinsics of the depth image.
        radius: Half the side of the square neighbourhood, in pixels.
        step: Distance of the samples in the neighbourhood, in pixels.
        tolerance: Neighbours whose 1 / depth differs by more than this
            fraction belong to another surface and are left out.
        least: Minimum fraction of the neighbours that must belong to the
            surface; otherwise there is no normal.
        misfit: Greatest root mean square distance of 1 / depth to the plane,
            as a fraction of 1 / depth; where it is greater, there is no
            normal. None: any.

    Returns:
        Unit vectors in the camera frame (x right, y down, z forward) that
        point towards the camera, ``H x W x 3`` float32; (0, 0, 0) where depth
        is unknown or no plane can be fitted.
    """
    height, width = depth.shape
    known = depth > 0
    inverse = np.divide(
        1, depth, out=np.zeros(depth.shape), where=known, dtype=np.float64
    )
    padded = np.pad(inverse, radius)
    offsets = range(-radius, radius + 1, step)
    bound = tolerance * inverse
    # Sums over the neighbours on the surface of 1, x, x^2, y, x y, y^2, and
    # of d, d x, d y, d^2, where d is the difference in 1 / depth to the
    # centre. float32 is precise enough because coordinates are relative to
    # the centre.
    sums = np.zeros((10, height, width), np.float32)
    for dy in offsets:
        row = np.zeros((6, height, width), np.float32)
        for dx in offsets:
            near = padded[
                radius + dy : radius + dy + height,
                radius + dx : radius + dx + width,
            ]
            rise = near - inverse
            inside = (np.abs(rise) <= bound) & (near > 0)
            weight = inside.astype(np.float32)
            rise = rise.astype(np.float32) * weight
            row[0] += weight
            row[3] += rise
            row[5] += rise * rise
            if dx:
                row[1] += dx * weight
                row[2] += dx * dx * weight
                row[4] += dx * rise
        sums[:3] += row[:3]
        sums[3:5] += dy * row[:2]
        sums[5] += dy * dy * row[0]
        sums[6:8] += row[3:5]
        sums[8] += dy * row[3]
        sums[9] += row[5]
    count, x, xx, y, xy, yy, r, rx, ry, rr = sums.astype(np.float64)
    number = np.maximum(count, 1)
    xx -= x * x / number
    xy -= x * y / number
    yy -= y * y / number
    rx -= r * x / number
    ry -= r * y / number
    rr -= r * r / number
    spread = xx * yy - xy * xy
    fitted = known & (count >= least * len(offsets) ** 2)
    # Neighbours on one line do not determine a plane.
    fitted &= spread > 1e-3 * number * number
    spread = np.where(fitted, spread, 1)
    slope_x = (yy * rx - xy * ry) / spread
    slope_y = (xx * ry - xy * rx) / spread
    if misfit is not None:
        rest = (rr - slope_x * rx - slope_y * ry) / number
        fitted &= rest <= (misfit * inverse) ** 2
    level = inverse + (r - slope_x * x - slope_y * y) / number
    # 1 / depth = n . ray / distance, with ray = (u, v, 1).
    u = (np.arange(width) - camera.cx) / camera.fx
    v = (np.arange(height)[:, None] - camera.cy) / camera.fy
    nx, ny = slope_x * camera.fx, slope_y * camera.fy
    normal = -np.stack([nx, ny, level - nx * u - ny * v], -1)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    fitted &= length[..., 0] > 0
    unit = normal / np.where(length > 0, length, 1)
    return np.where(fitted[..., None], unit, 0).astype(np.float32)
