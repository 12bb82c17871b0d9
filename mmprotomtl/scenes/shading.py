"""Materials and lighting."""

import numpy as np
from scipy.ndimage import map_coordinates

from .geometry import Room, Solid, dot, lit_from, times

_LATTICE = np.random.default_rng(0).random((32, 32, 32), np.float32)


def _noise(point: np.ndarray, seed: int) -> np.ndarray:
    """Return smooth noise in 0 .. 1 at points ``N x 3``, on a unit lattice."""
    point = point + np.array([seed & 31, seed >> 5 & 31, seed >> 10 & 31])
    cell = np.floor(point)
    f = point - cell
    smooth = cell + f * f * (3 - 2 * f)
    return map_coordinates(_LATTICE, smooth.T, order=1, mode='grid-wrap')


def _checker(point: np.ndarray, material: dict) -> np.ndarray:
    return (np.floor(point).sum(-1) % 2).astype(np.float32)


def _stripes(point: np.ndarray, material: dict) -> np.ndarray:
    wave = np.sin(2 * np.pi * point[:, material['axis']])
    return np.clip(wave * 3 + 0.5, 0, 1)


def _clouds(point: np.ndarray, material: dict) -> np.ndarray:
    seed = material['seed']
    return 0.65 * _noise(point, seed) + 0.35 * _noise(point * 2.7, seed + 1)


def _planks(point: np.ndarray, material: dict) -> np.ndarray:
    across, along = point[:, material['axis']], point[:, 2 - material['axis']]
    row = np.floor(across)
    tone = np.sin(row * 12.9898 + material['seed']) * 0.5 + 0.5
    gap = (across - row < 0.05) | ((along * 0.25 + row * 0.37) % 1 < 0.015)
    grain = _noise(point * [4, 4, 4] * [1, 1, 0.3], material['seed'])
    return np.where(gap, 1.0, 0.55 * tone + 0.3 * grain).astype(np.float32)


def _tiles(point: np.ndarray, material: dict) -> np.ndarray:
    grout = ((point - np.floor(point))[:, material['plane']] < 0.06).any(-1)
    return grout.astype(np.float32)


def _plain(point: np.ndarray, material: dict) -> np.ndarray:
    return np.zeros(len(point), np.float32)


#: Name of a pattern -> function that returns, for points in the solid's frame,
#: the fraction 0 .. 1 of the material's second colour.
PATTERNS = dict(
    checker=_checker,
    stripes=_stripes,
    clouds=_clouds,
    planks=_planks,
    tiles=_tiles,
    plain=_plain,
)


def albedo(material: dict, local: np.ndarray) -> np.ndarray:
    """Compute the colour of a surface without light.

    Args:
        material: ``pattern``, ``colors`` (two), ``period`` in metres,
            ``gloss`` 0 .. 1, ``seed``, and the settings of the pattern.
        local: Points in the solid's frame, ``N x 3``.

    Returns:
        RGB ``N x 3``, about 0 .. 1.
    """
    mix = PATTERNS[material['pattern']](local / material['period'], material)
    first, second = np.asarray(material['colors'], np.float32)
    color = first + mix[:, None] * (second - first)
    # Weak noise, because real surfaces are never of one uniform colour.
    return color * (0.9 + 0.2 * _noise(local * 3.1, material['seed']))[:, None]


def _length(vector: np.ndarray) -> np.ndarray:
    """Return the lengths of the rows, ``N x 1``."""
    return np.sqrt(dot(vector, vector))[:, None]


def shade(
    solids: list[Solid],
    lamp: np.ndarray,
    eye: np.ndarray,
    point: np.ndarray,
    normal: np.ndarray,
    index: np.ndarray,
) -> np.ndarray:
    """Compute the colour of visible points under a lamp and ambient light.

    Args:
        solids: All solids of the scene.
        lamp: Position of the lamp, ``3``.
        eye: Position of the camera, ``3``.
        point: Visible points, ``N x 3``.
        normal: Normals at the points, ``N x 3``.
        index: Indices of the points' solids, ``N``.

    Returns:
        RGB ``N x 3``, not clipped to 0 .. 1.
    """
    color = np.zeros_like(point)
    gloss = np.zeros(len(point), np.float32)
    for number in np.unique(index):
        solid, mine = solids[number], index == number
        local = times(point[mine] - solid.center, solid.axes.T)
        if isinstance(solid, Room):
            faces = Room.faces(normal[mine])
            painted = np.zeros_like(local)
            for face in np.unique(faces):
                at = faces == face
                painted[at] = albedo(solid.material[face], local[at])
            color[mine] = painted
        else:
            color[mine] = albedo(solid.material, local)
            gloss[mine] = solid.material['gloss']
    to_lamp = lamp - point
    distance = _length(to_lamp)
    to_lamp /= distance
    facing = dot(normal, to_lamp)[:, None].clip(0)
    lit = lit_from(solids, lamp, point + normal * np.float32(4e-3))
    direct = facing * lit[:, None] * 6.5 / (1 + 0.55 * distance**2)
    # Ambient light, a little stronger from above (y points down).
    ambient = 0.36 - 0.14 * normal[:, 1:2]
    to_eye = eye - point
    to_eye /= _length(to_eye)
    half = to_lamp + to_eye
    half /= _length(half)
    shine = dot(normal, half).clip(0) ** 40 * gloss * lit
    return color * (ambient + direct) + 0.6 * shine[:, None]
