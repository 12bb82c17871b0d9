"""Rendered scenes with labels of all six tasks; no download is needed."""

from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np

from mmprotomtl.registry import DATASETS
from mmprotomtl.scenes.builder import CLASSES, PALETTE, PERSON, scene_of
from mmprotomtl.scenes.renderer import render
from mmprotomtl.utils.camera import Camera

from .multitask_dataset import MultiTaskDataset


class SceneFile(NamedTuple):
    """An image or label of a scene, rendered when it is loaded.

    It replaces :class:`~mmprotomtl.readers.files.DataFile`.

    Attributes:
        seed: Seed of the scenes.
        number: Number of the scene.
        size: Height and width in pixels.
        what: Attribute of :class:`~mmprotomtl.scenes.renderer.Frame`.
    """

    seed: int
    number: int
    size: tuple[int, int]
    what: str

    @property
    def path(self) -> str:
        """Name of the image, for error messages."""
        return f'synthetic://{self.seed}/{self.number}/{self.what}'

    def load(self) -> np.ndarray:
        """Render the scene and return the image or label."""
        return getattr(render(self.seed, self.number, self.size), self.what)


@lru_cache(maxsize=4096)
def _has_person(seed: int, index: int) -> bool:
    return any(solid.kind == PERSON for solid in scene_of(seed, index).solids)


@DATASETS.register_module()
class SyntheticScenesDataset(MultiTaskDataset):
    """Rooms with boxes, balls, cylinders and people, rendered with exact
    labels.

    A sample depends on ``seed``, split and its number only. All labels are
    computed from one ray per pixel, so they are consistent with each other:
    depth and normals are those of the same surface point; edges are pixels
    whose right or lower neighbour belongs to another instance (an object, or a
    wall, floor or ceiling); the salient object is the one with the greatest
    sum of weights over its visible pixels, with a Gaussian weight around the
    image's centre (sigma: a third of the diagonal). Different splits have
    different scenes.

    Args:
        size: Height and width of the images in pixels.
        num_scenes: Number of samples.
        seed: Seed of the scenes.
        **kwargs: See :class:`MultiTaskDataset`.
    """

    METAINFO: ClassVar[dict] = dict(
        tasks=dict(
            semseg=dict(
                num_classes=len(CLASSES), classes=CLASSES, palette=PALETTE
            ),
            human_parts=dict(),
            sal=dict(),
            normals=dict(),
            edge=dict(max_dist=0.011),
            depth=dict(unit='metres', draw_range=(0.5, 8.0)),
        )
    )
    SPLITS: ClassVar[tuple] = ('train', 'val', 'test')
    TEST_SPLITS: ClassVar[tuple] = ('test',)
    #: Task -> attribute of a rendered frame with its label.
    IMAGES: ClassVar[dict] = dict(
        semseg='kind',
        human_parts='part',
        sal='saliency',
        normals='normal',
        edge='edge',
        depth='depth',
    )

    def __init__(
        self,
        size: tuple[int, int] = (96, 128),
        num_scenes: int = 256,
        seed: int = 0,
        **kwargs,
    ) -> None:
        self.size = (int(size[0]), int(size[1]))
        self.num_scenes = num_scenes
        self.seed = seed
        super().__init__(**kwargs)

    @property
    def _world(self) -> int:
        return len(self.SPLITS) * self.seed + self.SPLITS.index(self.split)

    def applicable(self, sample_id: str, task: str) -> bool:
        """Whether a scene can have the label; body parts need a person."""
        if self.IMAGES.get(task) != 'part':
            return True
        return _has_person(self._world, int(sample_id))

    def has_camera(self) -> bool:
        """Yes, each scene has a camera of its own."""
        return True

    def camera_of(self, sample_id: str) -> Camera | None:
        """The camera of a scene; one that a config gives goes before it."""
        height, width = self.size
        focal = scene_of(self._world, int(sample_id)).focal * width
        middle = dict(cx=(width - 1) / 2, cy=(height - 1) / 2)
        return self.camera or Camera(focal, focal, **middle, size=self.size)

    def load_data_list(self) -> list[dict]:
        """List the scenes; each is rendered when it is loaded."""
        return [
            dict(
                sample_id=str(i),
                image=SceneFile(self._world, i, self.size, 'image'),
                labels={
                    task: SceneFile(self._world, i, self.size, what)
                    for task, what in self.IMAGES.items()
                },
            )
            for i in range(self.num_scenes)
        ]
