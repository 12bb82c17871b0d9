"""Non-maximum suppression of edge maps."""

import cv2
import numpy as np


def suppress(
    prob: np.ndarray,
    radius: int = 4,
    border: int = 5,
    margin: float = 1.01,
) -> np.ndarray:
    """Set pixels to 0 unless they are a maximum across their edge.

    Written from the published description of non-maximum suppression in Dollar
    and Zitnick, "Fast edge detection using structured forests" (PAMI 2015):
    the direction of an edge follows from second derivatives of the smoothed
    map. If the mixed derivative is 0, its sign counts as positive; otherwise
    the direction of an exactly horizontal edge would be off by 90 degrees.

    Args:
        prob: Probability of an edge, ``H x W``.
        radius: Radius in pixels of the triangle filter that smooths the map.
        border: Width in pixels of the image border over which the result
            fades from 0 to full strength.
        margin: A pixel is suppressed if a neighbour across the edge is greater
            than ``margin`` times the pixel.

    Returns:
        float64 ``H x W``.
    """
    prob = np.asarray(prob, np.float64)
    ramp = np.arange(1, radius + 2)
    kernel = np.concatenate([ramp, ramp[-2::-1]]) / (radius + 1) ** 2
    smooth = cv2.sepFilter2D(
        prob, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REFLECT
    )
    dy, dx = np.gradient(smooth)
    dxx = np.gradient(dx, axis=1)
    dyy, dxy = np.gradient(dy)
    sign = np.where(dxy > 0, -1, 1)
    angle = np.mod(np.arctan(dyy * sign / (dxx + 1e-5)), np.pi)
    y, x = np.mgrid[: prob.shape[0], : prob.shape[1]]
    result = prob.copy()
    for side in (-1, 1):
        neighbour = _bilinear(
            prob, y + side * np.sin(angle), x + side * np.cos(angle)
        )
        result[prob * margin < neighbour] = 0
    for axis, size in enumerate(prob.shape):
        fade = min(border, size // 2)
        if not fade:
            continue
        place = np.arange(size)
        weight = np.minimum(np.minimum(place, size - 1 - place) / fade, 1)
        result *= np.expand_dims(weight, 1 - axis)
    return result


def _bilinear(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Sample ``image`` bilinearly; positions outside it are clamped."""
    height, width = image.shape
    y, x = y.clip(0, height - 1), x.clip(0, width - 1)
    y0 = np.minimum(y.astype(int), max(height - 2, 0))
    x0 = np.minimum(x.astype(int), max(width - 2, 0))
    y1, x1 = np.minimum(y0 + 1, height - 1), np.minimum(x0 + 1, width - 1)
    v, u = y - y0, x - x0
    upper = image[y0, x0] * (1 - u) + image[y0, x1] * u
    lower = image[y1, x0] * (1 - u) + image[y1, x1] * u
    return upper * (1 - v) + lower * v
