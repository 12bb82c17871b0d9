"""Render a scene to an image and its labels."""

import functools
from typing import NamedTuple

import numpy as np

from .builder import FACE_CLASSES, ROOM_INSTANCES, scene_of
from .geometry import Room, rays_from, times, trace
from .shading import shade


class Frame(NamedTuple):
    """A rendered image and its labels.

    Attributes:
        image: RGB uint8 ``H x W x 3``.
        kind: Semantic class, uint8 ``H x W``.
        part: Body part, 0 = none, uint8 ``H x W``.
        instance: Number of the object or face of the room, int64 ``H x W``.
        depth: Depth along the optical axis in metres, float32 ``H x W``.
        normal: Unit normals in the camera frame, x right, y down, z forward,
            float32 ``H x W x 3``.
    """

    image: np.ndarray
    kind: np.ndarray
    part: np.ndarray
    instance: np.ndarray
    depth: np.ndarray
    normal: np.ndarray

    @property
    def edge(self) -> np.ndarray:
        """1 where the right or lower neighbour is of another instance.

        uint8 ``H x W``, else 0.
        """
        edge = np.zeros(self.instance.shape, np.uint8)
        edge[:, :-1] |= self.instance[:, :-1] != self.instance[:, 1:]
        edge[:-1] |= self.instance[:-1] != self.instance[1:]
        return edge

    @property
    def saliency(self) -> np.ndarray:
        """Mask of the most salient object: 1 on its pixels, else 0.

        It is the object with the greatest sum of weights exp(-d^2 / (2 s^2))
        over its visible pixels, where d is the distance of a pixel to the
        image's centre and s is a third of the diagonal. All 0 if no object is
        in view. uint8 ``H x W``.
        """
        height, width = self.instance.shape
        y, x = np.mgrid[:height, :width]
        square = (y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2
        weight = np.exp(-square / (2 * (height**2 + width**2) / 9))
        weight[self.instance < ROOM_INSTANCES] = 0
        score = np.bincount(self.instance.ravel(), weight.ravel())
        chosen = score.argmax() if score.any() else -1
        return (self.instance == chosen).astype(np.uint8)


@functools.lru_cache(maxsize=2)
def render(seed: int, index: int, size: tuple[int, int]) -> Frame:
    """Render one scene.

    Args:
        seed: Seed of the scenes.
        index: Number of the scene.
        size: Height and width in pixels.

    Returns:
        The frame. It depends on the arguments only.
    """
    scene = scene_of(seed, index)
    height, width = size
    focal = scene.focal * width
    y, x = np.mgrid[:height, :width].astype(np.float32)
    ray = np.stack(
        [
            (x.ravel() - (width - 1) / 2) / focal,
            (y.ravel() - (height - 1) / 2) / focal,
            np.ones(height * width),
        ],
        axis=1,
    ).astype(np.float32)
    direction = times(ray, scene.camera)
    depth, normal, found = trace(scene.solids, rays_from(scene.eye, direction))
    point = scene.eye + depth[:, None] * direction
    color = shade(scene.solids, scene.lamp, scene.eye, point, normal, found)
    kinds = np.array([solid.kind for solid in scene.solids], np.uint8)
    parts = np.array([solid.part for solid in scene.solids], np.uint8)
    instances = np.array([solid.instance for solid in scene.solids])
    kind, instance = kinds[found], instances[found]
    walls = np.array([isinstance(s, Room) for s in scene.solids])[found]
    faces = Room.faces(normal[walls])
    kind[walls], instance[walls] = FACE_CLASSES[faces], faces
    # Exposure, sensor noise, gamma.
    rng = np.random.default_rng((seed, index, 1))
    color = color * rng.uniform(0.8, 1.15)
    color = color + rng.normal(0, 0.012, color.shape)
    color = np.clip(color, 0, 1) ** (1 / 1.6)
    shape = (height, width)
    return Frame(
        image=(color * 255).round().astype(np.uint8).reshape(*shape, 3),
        kind=kind.reshape(shape),
        part=parts[found].reshape(shape),
        instance=instance.reshape(shape),
        depth=depth.reshape(shape),
        normal=times(normal, scene.camera.T).reshape(*shape, 3),
    )
