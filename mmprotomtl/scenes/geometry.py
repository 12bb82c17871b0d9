"""Solids and their exact intersection with rays.

Every solid has its own coordinate frame: ``local = (world - center) @
axes.T``, where the rows of ``axes`` are its axes in world coordinates.
Coordinates are in metres, x right, y down, z forward. All arrays are float32.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

#: Ray parameter that means no hit.
FAR = np.float32(1e6)
#: Hits below this ray parameter are on the surface from which the ray starts.
NEAR = np.float32(1e-3)


Vector = Any  # array or sequence of three numbers; an array once built


class Rays(NamedTuple):
    """Rays that start from the same point.

    Attributes:
        origin: Starting point, ``3``.
        direction: Directions of any length, ``N x 3``.
        square: Squared lengths of the directions, ``N``.
    """

    origin: np.ndarray
    direction: np.ndarray
    square: np.ndarray


def rays_from(origin: np.ndarray, direction: np.ndarray) -> Rays:
    """Make rays from ``origin``, ``3``, along ``direction``, ``N x 3``."""
    return Rays(origin, direction, dot(direction, direction))


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute dot products along the last axis, ``... x 2`` or ``... x 3``.

    Terms are summed in a fixed order. The operator ``@`` calls BLAS, whose
    rounding depends on the processor, so scenes would not be bit-identical on
    all machines.
    """
    total = a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1]
    return total if a.shape[-1] == 2 else total + a[..., 2] * b[..., 2]


def times(vectors: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Compute ``vectors @ matrix`` with the fixed order of :func:`dot`.

    Args:
        vectors: ``... x 3``.
        matrix: ``3 x 3``.
    """
    return (
        vectors[..., :1] * matrix[0]
        + vectors[..., 1:2] * matrix[1]
        + vectors[..., 2:] * matrix[2]
    )


@dataclass
class Solid(ABC):
    """Base class of solids; each has one material and one instance.

    Attributes:
        center: Position in the world, ``3``.
        size: Dimensions, ``3``; their meaning depends on the subclass.
        axes: Axes in world coordinates as rows, ``3 x 3``.
        material: Appearance, see :func:`mmprotomtl.scenes.shading.albedo`; a
            list with one per face for a :class:`Room`.
        kind: Semantic class.
        part: Body part, 0 = none.
        instance: Number of the object to which the solid belongs.
        reach: Radius of the bounding sphere, see :meth:`bound`.
    """

    center: Vector
    size: Vector
    axes: np.ndarray
    material: dict | list[dict]
    kind: int
    part: int = 0
    instance: int = 0
    reach: np.float32 = field(init=False)

    def __post_init__(self) -> None:
        self.center = np.asarray(self.center, np.float32)
        self.size = np.asarray(self.size, np.float32)
        self.axes = np.asarray(self.axes, np.float32)
        self.reach = np.float32(self.bound())

    def bound(self) -> float:
        """Return the radius of a bounding sphere around the centre."""
        return float(np.linalg.norm(self.size))

    def candidates(self, rays: Rays) -> np.ndarray:
        """Return the indices of rays that hit the bounding sphere."""
        to_center = self.center - rays.origin
        along = dot(rays.direction, to_center)
        missed = dot(to_center, to_center) - along**2 / rays.square
        inside = dot(to_center, to_center) <= self.reach**2
        near = missed <= self.reach**2
        return np.flatnonzero(near & ((along > 0) | inside))

    def hit(
        self, rays: Rays, chosen: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the first intersections of some rays with the solid.

        Args:
            rays: All rays.
            chosen: Indices of the N rays to use.

        Returns:
            Ray parameters ``N`` (:data:`FAR` if there is no hit), and unit
            normals in world coordinates, ``N x 3``.
        """
        start = times(rays.origin - self.center, self.axes.T)
        step = times(rays.direction[chosen], self.axes.T)
        t, normal = self._hit(start, step)
        # Normals of thin solids far from the ray's origin are imprecise, so
        # they are normalised again.
        length = np.sqrt(dot(normal, normal))
        normal = normal / np.maximum(length, 1e-12)[:, None]
        return np.where(t > NEAR, t, FAR), times(normal, self.axes)

    @abstractmethod
    def _hit(
        self, start: np.ndarray, step: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Intersect rays in the solid's own frame, see :meth:`hit`."""


def _first_root(
    a: np.ndarray, half_b: np.ndarray, c: np.ndarray
) -> np.ndarray:
    """Return the smaller root of a t^2 + 2 half_b t + c; FAR if none."""
    under = half_b**2 - a * c
    root = (-half_b - np.sqrt(np.maximum(under, 0))) / np.maximum(a, 1e-12)
    return np.where(under > 0, root, FAR)


class Ellipsoid(Solid):
    """An ellipsoid; ``size`` has its three radii."""

    def bound(self) -> float:
        """Return the radius of a bounding sphere around the centre."""
        return float(self.size.max())

    def _hit(
        self, start: np.ndarray, step: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        p, d = start / self.size, step / self.size
        t = _first_root(dot(d, d), dot(d, p), dot(p, p) - 1)
        normal = (start + np.minimum(t, 1e3)[:, None] * step) / self.size**2
        return t, normal


class Box(Solid):
    """A box; ``size`` has half the lengths of its three edges."""

    def _hit(
        self, start: np.ndarray, step: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        step = np.where(np.abs(step) < 1e-9, np.float32(1e-9), step)
        middle, half = -start / step, self.size / np.abs(step)
        enter, leave = middle - half, middle + half
        t = enter.max(-1)
        axis = enter.argmax(-1)
        rows = np.arange(len(t))
        normal = np.zeros_like(step)
        normal[rows, axis] = -np.sign(step[rows, axis])
        return np.where(t < leave.min(-1), t, FAR), normal


class Cylinder(Solid):
    """A closed cylinder; ``size`` is radius, half height, radius.

    The cylinder's axis is the second row of ``axes``.
    """

    def bound(self) -> float:
        """Return the radius of a bounding sphere around the centre."""
        return float(np.hypot(self.size[0], self.size[1]))

    def _hit(
        self, start: np.ndarray, step: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        radius, half = self.size[0], self.size[1]
        p, d = start[::2], step[:, ::2]
        side = _first_root(dot(d, d), dot(d, p), dot(p, p) - radius**2)
        side = np.where(
            np.abs(start[1] + side * step[:, 1]) <= half, side, FAR
        )
        fall = np.where(
            np.abs(step[:, 1]) < 1e-9, np.float32(1e-9), step[:, 1]
        )
        lid = (-np.sign(fall) * half - start[1]) / fall
        landing = p + lid[:, None] * d
        inside = dot(landing, landing) <= radius**2
        lid = np.where(inside, lid, FAR)
        normal = np.zeros_like(step)
        on_side = side < lid
        normal[:, ::2] = np.where(
            on_side[:, None],
            p + np.minimum(side, 1e3)[:, None] * d,
            0,
        )
        normal[:, 1] = np.where(on_side, 0, -np.sign(fall))
        return np.minimum(side, lid), normal


class Capsule(Solid):
    """A cylinder with hemispherical ends, used for limbs.

    ``size`` is radius, half length of the cylinder, radius. The axis is the
    second row of ``axes``.
    """

    def bound(self) -> float:
        """Return the radius of a bounding sphere around the centre."""
        return float(self.size[0] + self.size[1])

    def _hit(
        self, start: np.ndarray, step: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        radius, half = self.size[0], self.size[1]
        p, d = start[::2], step[:, ::2]
        t = _first_root(dot(d, d), dot(d, p), dot(p, p) - radius**2)
        t = np.where(np.abs(start[1] + t * step[:, 1]) <= half, t, FAR)
        length = dot(step, step)
        for end in (-half, half):
            q = start - np.array([0, end, 0], np.float32)
            ball = _first_root(length, dot(step, q), dot(q, q) - radius**2)
            t = np.minimum(t, ball)
        point = start + np.minimum(t, 1e3)[:, None] * step
        point[:, 1] -= np.clip(point[:, 1], -half, half)
        return t, point


class Room(Solid):
    """A box that is seen from inside; ``size`` has half its edge lengths.

    Faces are numbered in the order -x, +x, -y (ceiling), +y (floor), -z, +z.
    """

    def _hit(
        self, start: np.ndarray, step: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        step = np.where(np.abs(step) < 1e-9, np.float32(1e-9), step)
        leave = (np.sign(step) * self.size - start) / step
        axis = leave.argmin(-1)
        rows = np.arange(len(step))
        normal = np.zeros_like(step)
        normal[rows, axis] = -np.sign(step[rows, axis])
        return leave[rows, axis], normal

    @staticmethod
    def faces(normal: np.ndarray) -> np.ndarray:
        """Return the number of the face of each normal ``N x 3``."""
        axis = np.abs(normal).argmax(-1)
        return 2 * axis + (normal[np.arange(len(axis)), axis] < 0)


def trace(
    solids: list[Solid], rays: Rays
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the first intersection of each ray with a scene.

    Args:
        solids: All solids, including a :class:`Room` that encloses the others.
        rays: N rays.

    Returns:
        Ray parameters ``N``, unit normals ``N x 3``, and indices into
        ``solids``, ``N``.
    """
    count = len(rays.direction)
    depth = np.full(count, FAR, np.float32)
    normal = np.zeros((count, 3), np.float32)
    index = np.zeros(count, np.int64)
    for number, solid in enumerate(solids):
        chosen = solid.candidates(rays)
        if not chosen.size:
            continue
        t, n = solid.hit(rays, chosen)
        nearer = t < depth[chosen]
        chosen = chosen[nearer]
        depth[chosen] = t[nearer]
        normal[chosen] = n[nearer]
        index[chosen] = number
    return depth, normal, index


def lit_from(
    solids: list[Solid], lamp: np.ndarray, point: np.ndarray
) -> np.ndarray:
    """Return which points are lit by a lamp and not in shadow.

    Args:
        solids: All solids.
        lamp: Position of the lamp, ``3``.
        point: Points ``N x 3``.

    Returns:
        Bool ``N``.
    """
    rays = rays_from(lamp, point - lamp)
    lit = np.ones(len(point), bool)
    for solid in solids:
        if isinstance(solid, Room):
            continue
        chosen = solid.candidates(rays)
        if chosen.size:
            t, _ = solid.hit(rays, chosen)
            lit[chosen] &= t > 1
    return lit
