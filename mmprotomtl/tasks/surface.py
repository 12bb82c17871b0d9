"""Normals of the surface that a map of points spans."""

import torch
from torch import Tensor
from torch.nn import functional as F


def inner(values: Tensor, step: int) -> Tensor:
    """The pixels that have all four neighbours at a distance of ``step``:
    ``... x H x W`` to ``... x (H - 2 step) x (W - 2 step)``.
    """
    return values[..., step:-step, step:-step]


def neighbours(
    values: Tensor, step: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The values to the left, to the right, above and below of the pixels of
    :func:`inner`, at a distance of ``step`` pixels.
    """
    rows, cols = values[..., step:-step, :], values[..., step:-step]
    left, right = rows[..., : -2 * step], rows[..., 2 * step :]
    above, below = cols[..., : -2 * step, :], cols[..., 2 * step :, :]
    return left, right, above, below


def surface_normals(points: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Unit normals of a surface, towards the camera.

    Args:
        points: In the camera frame (x right, y down, z forward), ``N x 3 x H x
            W``.
        step: Distance in pixels of the neighbours that span the surface.

    Returns:
        Normals ``N x 3 x (H - 2 step) x (W - 2 step)``, and a mask of those
        that are defined, bool ``N x (H - 2 step) x (W - 2 step)``.
    """
    left, right, above, below = neighbours(points, step)
    # Right x down points away from the camera.
    across = torch.linalg.cross(below - above, right - left, dim=1)
    fits = across.square().sum(1) > 0
    return F.normalize(across, dim=1, eps=1e-12), fits
