"""Build random scenes: a room with objects, a camera and a lamp."""

import colorsys
from typing import NamedTuple

import numpy as np

from .figures import figure
from .geometry import Box, Cylinder, Ellipsoid, Room, Solid

CLASSES = ('wall', 'floor', 'ceiling', 'box', 'ball', 'cylinder', 'person')
PALETTE = (
    (150, 150, 165),
    (120, 80, 40),
    (230, 230, 210),
    (60, 100, 220),
    (240, 200, 40),
    (60, 180, 90),
    (220, 60, 60),
)
WALL, FLOOR, CEILING, BOX, BALL, CYLINDER, PERSON = range(len(CLASSES))
#: Number of instances that are faces of the room (0 .. 5). Objects come after.
ROOM_INSTANCES = 6
#: Semantic class of each face of the room, see :class:`Room`.
FACE_CLASSES = np.array([WALL, WALL, CEILING, FLOOR, WALL, WALL])


class Scene(NamedTuple):
    """A room with objects, a camera and a lamp.

    Attributes:
        solids: All solids; the room is the first.
        eye: Position of the camera in metres, ``3``.
        camera: Axes of the camera (right, down, forward) as rows, ``3 x 3``.
        focal: Focal length in units of the image's width.
        lamp: Position of the lamp in metres, ``3``.
    """

    solids: list[Solid]
    eye: np.ndarray
    camera: np.ndarray
    focal: float
    lamp: np.ndarray


def _color(
    rng: np.random.Generator,
    saturation: tuple[float, float],
    value: tuple[float, float],
    hue: tuple[float, float] = (0, 1),
) -> list[float]:
    return list(
        colorsys.hsv_to_rgb(
            rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value)
        )
    )


def _material(
    rng: np.random.Generator,
    patterns: tuple[str, ...],
    colors: list[list[float]],
    period: tuple[float, float],
    **kwargs,
) -> dict:
    return (
        dict(
            pattern=patterns[rng.integers(len(patterns))],
            colors=colors,
            period=rng.uniform(*period),
            axis=int(rng.choice([0, 2])),
            seed=int(rng.integers(1 << 16)),
            gloss=rng.uniform(0, 0.5),
        )
        | kwargs
    )


def _room(rng: np.random.Generator, size: np.ndarray) -> Room:
    """Make a room: walls with the same wallpaper, a floor and a ceiling."""
    paper = _color(rng, (0.05, 0.45), (0.6, 0.9))
    darker = (np.asarray(paper) * rng.uniform(0.75, 0.92)).tolist()
    look = _material(
        rng, ('plain', 'clouds', 'stripes', 'tiles'), [paper, darker],
        (0.25, 0.6),
    )  # fmt: skip
    walls = [
        look | dict(axis=axis, plane=plane)
        for axis, plane in ((2, [1, 2]), (0, [0, 1]))
    ]
    wood = _color(rng, (0.35, 0.65), (0.35, 0.7), (0.04, 0.11))
    stone = _color(rng, (0.0, 0.25), (0.5, 0.85))
    base, pattern = (
        (wood, ('planks',))
        if rng.random() < 0.5
        else (stone, ('checker', 'tiles', 'clouds'))
    )
    floor = _material(
        rng, pattern, [base, (np.asarray(base) * 0.6).tolist()], (0.15, 0.6),
        plane=[0, 2],
    )  # fmt: skip
    white = [rng.uniform(0.8, 0.95)] * 3
    ceiling = _material(rng, ('plain',), [white, white], (1, 1))
    faces = [walls[0], walls[0], ceiling, floor, walls[1], walls[1]]
    return Room((0, 0, 0), size, np.eye(3), faces, kind=WALL)


def _things(
    rng: np.random.Generator, floor: np.ndarray, instance: int
) -> tuple[list[Solid], float]:
    """Make a random object that stands on a point of the floor.

    Returns:
        Its solids, and its radius in the horizontal plane in metres.
    """
    same = dict(instance=instance)
    vivid = [_color(rng, (0.45, 0.95), (0.4, 0.95)) for _ in range(2)]
    look = _material(
        rng, ('plain', 'checker', 'stripes', 'clouds'), vivid, (0.12, 0.35)
    )
    turn = rng.uniform(0, np.pi)
    axes = np.array(
        [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0],
         [-np.sin(turn), 0, np.cos(turn)]]
    )  # fmt: skip
    what = rng.random()
    solid: Solid
    if what < 0.4:
        skin = _color(rng, (0.3, 0.6), (0.35, 0.95), (0.04, 0.09))
        hair = _color(rng, (0.2, 0.7), (0.08, 0.5), (0.03, 0.12))
        plain = [
            _material(rng, ('plain',), [c, c], (1, 1), gloss=0.05)
            for c in (skin, hair)
        ]
        dull = _color(rng, (0, 0.7), (0.15, 0.6))
        dark = _color(rng, (0, 0.5), (0.05, 0.5))
        cloth = [
            _material(rng, patterns, colors, (0.06, 0.16), gloss=0.05, axis=0)
            for patterns, colors in (
                (('stripes', 'plain'), vivid),
                (('clouds', 'plain'), [dull, dull]),
                (('plain',), [dark, dark]),
            )
        ]
        return figure(rng, floor, PERSON, instance, cloth, *plain), 0.4
    if what < 0.65:
        size = rng.uniform(0.15, 0.45, 3)
        solid = Box(
            floor - [0, size[1], 0], size, axes, look, kind=BOX, **same
        )
        return [solid], float(np.hypot(size[0], size[2]))
    if what < 0.85:
        radius = rng.uniform(0.15, 0.42)
        solid = Ellipsoid(
            floor - [0, radius, 0], [radius] * 3, axes, look, kind=BALL, **same
        )
        return [solid], radius
    radius, half = rng.uniform(0.12, 0.32), rng.uniform(0.2, 0.6)
    solid = Cylinder(
        floor - [0, half, 0], (radius, half, radius), axes, look,
        kind=CYLINDER, **same,
    )  # fmt: skip
    return [solid], radius


def build_scene(rng: np.random.Generator) -> Scene:
    """Make a room with a camera, a lamp and up to seven objects in view.

    Args:
        rng: Source of all random decisions.
    """
    half = np.array(
        [rng.uniform(2.2, 3.6), rng.uniform(1.25, 1.6), rng.uniform(2.4, 4.2)]
    )
    eye = np.array(
        [
            rng.uniform(-0.5, 0.5) * half[0],
            half[1] - rng.uniform(1.1, 1.6),
            -half[2] * rng.uniform(0.7, 0.95),
        ]
    )
    # The camera looks to the far wall, a little downwards and sideways.
    yaw = rng.uniform(-0.35, 0.35) - 0.3 * eye[0] / half[0]
    pitch = rng.uniform(-0.02, 0.22)
    forward = np.array(
        [
            np.sin(yaw) * np.cos(pitch),
            np.sin(pitch),
            np.cos(yaw) * np.cos(pitch),
        ]
    )
    right = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    camera = np.stack([right, np.cross(forward, right), forward])
    focal = rng.uniform(0.75, 1.05)
    solids: list[Solid] = [_room(rng, half)]
    taken: list[tuple[float, float, float]] = []
    wanted = rng.integers(3, 8)
    for _ in range(40):
        if len(taken) == wanted:
            break
        # Objects are in view: a depth in front of the camera, and a sideways
        # offset within the image's width.
        ahead = rng.uniform(1.5, 2 * half[2] * 0.9)
        aside = rng.uniform(-0.42, 0.42) / focal * ahead
        x, z = eye[[0, 2]] + ahead * forward[[0, 2]] + aside * right[[0, 2]]
        pieces, radius = _things(
            rng, np.array([x, half[1], z]), ROOM_INSTANCES + len(taken)
        )
        in_room = abs(x) < half[0] - radius and abs(z) < half[2] - radius
        free = (
            all(np.hypot(x - a, z - b) > radius + r for a, b, r in taken)
            and np.hypot(x - eye[0], z - eye[2]) > radius + 0.9
        )
        if in_room and free:
            taken.append((x, z, radius))
            solids += pieces
    lamp = np.array(
        [rng.uniform(-0.6, 0.6) * half[0], -half[1] + 0.35,
         rng.uniform(-0.7, 0.4) * half[2]]
    )  # fmt: skip
    return Scene(
        solids,
        eye.astype(np.float32),
        camera.astype(np.float32),
        focal,
        lamp.astype(np.float32),
    )


def scene_of(seed: int, index: int) -> Scene:
    """Build scene number ``index`` of the scenes with this seed."""
    return build_scene(np.random.default_rng((seed, index)))
