"""Surface normals from depth."""

from typing import NamedTuple

import numpy as np


class Camera(NamedTuple):
    """Intrinsics of a pinhole camera without distortion.

    The centre of the top left pixel is (0, 0).

    Attributes:
        fx: Horizontal focal length, in pixels.
        fy: Vertical focal length, in pixels.
        cx: Column of the principal point.
        cy: Row of the principal point.
    """

    fx: float
    fy: float
    cx: float
    cy: float


def normals_from_depth(
    depth: np.ndarray,
    camera: Camera,
    radius: int = 9,
    step: int = 3,
    tolerance: float = 0.05,
    least: float = 0.3,
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
    # of d, d x, d y, where d is the difference in 1 / depth to the centre.
    # float32 is precise enough because coordinates are relative to the centre.
    sums = np.zeros((9, height, width), np.float32)
    for dy in offsets:
        row = np.zeros((5, height, width), np.float32)
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
            if dx:
                row[1] += dx * weight
                row[2] += dx * dx * weight
                row[4] += dx * rise
        sums[:3] += row[:3]
        sums[3:5] += dy * row[:2]
        sums[5] += dy * dy * row[0]
        sums[6:8] += row[3:]
        sums[8] += dy * row[3]
    count, x, xx, y, xy, yy, r, rx, ry = sums.astype(np.float64)
    number = np.maximum(count, 1)
    xx -= x * x / number
    xy -= x * y / number
    yy -= y * y / number
    rx -= r * x / number
    ry -= r * y / number
    spread = xx * yy - xy * xy
    fitted = known & (count >= least * len(offsets) ** 2)
    # Neighbours on one line do not determine a plane.
    fitted &= spread > 1e-3 * number * number
    spread = np.where(fitted, spread, 1)
    slope_x = (yy * rx - xy * ry) / spread
    slope_y = (xx * ry - xy * rx) / spread
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
