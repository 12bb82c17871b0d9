"""Cityscapes in the layout of MTAN: 7 or 19 classes, 2 tasks."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from mmprotomtl.readers import read_classes, read_npy
from mmprotomtl.registry import DATASETS
from mmprotomtl.utils.errors import check_choice

from .mtan_dataset import MTANDataset

#: Number of classes -> their names in official order: the 7 categories or the
#: 19 training classes of Cityscapes.
CLASSES = {
    7: (
        'flat', 'construction', 'object', 'nature', 'sky', 'human', 'vehicle',
    ),
    19: (
        'road', 'sidewalk', 'building', 'wall', 'fence', 'pole',
        'traffic light', 'traffic sign', 'vegetation', 'terrain', 'sky',
        'person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle',
        'bicycle',
    ),
}  # fmt: skip


@DATASETS.register_module()
class CityscapesMTDataset(MTANDataset):
    """Cityscapes as MTAN published it.

    Files are ``data_root/{train,val}/{image,label_7,label_19,depth}/{i}.npy``,
    2,975 and 500 samples of 128 x 256 pixels (also published at 256 x 512).
    Images are ``H x W x 3`` in 0 .. 1. Class labels count from 0,
    -1 = unlabelled. The folder named ``depth`` has **disparity**, inverse
    depth without a unit (0 = unknown): near objects have high values, and a
    zoom by s multiplies disparity by s.

    Args:
        num_classes: 7 (``label_7``, used in most published tables) or 19
            (``label_19``).
        **kwargs: See :class:`MultiTaskDataset`.

    Raises:
        ValueError: ``num_classes`` is neither 7 nor 19.
    """

    METAINFO: ClassVar[dict] = dict(
        tasks=dict(semseg=dict(), depth=dict(unit='disparity'))
    )
    USUAL_SIZE: ClassVar[tuple[int, int] | None] = (128, 256)
    PUBLISHED: ClassVar[dict] = dict(train=2975, val=500)
    FOLDERS: ClassVar[dict] = dict(
        semseg=('label_{}', read_classes), depth=('depth', read_npy)
    )

    def __init__(self, num_classes: int = 7, **kwargs) -> None:
        check_choice('num_classes', num_classes, CLASSES)
        self.num_classes = num_classes
        super().__init__(**kwargs)

    @classmethod
    def task_facts(cls, args: Mapping) -> Mapping[str, dict]:
        """Return the facts of each task, with ``num_classes`` classes."""
        number = args.get('num_classes', 7)
        check_choice('num_classes', number, CLASSES)
        semseg = dict(num_classes=number, classes=CLASSES[number])
        return {**cls.METAINFO['tasks'], 'semseg': semseg}

    def known_tasks(self) -> Mapping[str, dict]:
        """Return :meth:`task_facts` for this data set's arguments."""
        return self.task_facts(dict(num_classes=self.num_classes))

    @property
    def folders(self) -> Mapping[str, tuple[str, Callable]]:
        """Task -> folder of its labels and reader, see ``FOLDERS``."""
        return {
            task: (folder.format(self.num_classes), read)
            for task, (folder, read) in self.FOLDERS.items()
        }
