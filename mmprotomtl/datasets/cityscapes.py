"""Cityscapes in the form of MTAN: 7 or 19 classes, 2 tasks."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from mmprotomtl.readers.files import read_npy
from mmprotomtl.registry import DATASETS
from mmprotomtl.utils.errors import check_choice

from .mtan_dataset import MTANDataset, read_classes

#: Names by the number of classes: the groups of Cityscapes, and its training
#: classes, in their official order.
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

    ``data_root/{train,val}/{image,label_7,label_19,depth}/{i}.npy``, 2,975
    and 500 samples at 128 x 256 (there is a form of 256 x 512): image ``H x W
    x 3`` in 0 .. 1, labels from 0 (-1 = unlabelled). What the folder calls
    ``depth`` is **disparity**, inverse depth without a unit (0 = unknown):
    near things have high values, and a zoom by s multiplies it by s.

    Args:
        num_classes: 7 (``label_7``, the form of most tables) or 19
            (``label_19``).
        **kwargs: See :class:`MultiTaskDataset`.

    Raises:
        ValueError: ``num_classes`` is neither.
    """

    METAINFO: ClassVar[dict] = dict(
        tasks=dict(semseg=dict(), depth=dict(unit='disparity'))
    )
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
        """The tasks, with the classes that were chosen."""
        number = args.get('num_classes', 7)
        check_choice('num_classes', number, CLASSES)
        semseg = dict(num_classes=number, classes=CLASSES[number])
        return {**cls.METAINFO['tasks'], 'semseg': semseg}

    def known_tasks(self) -> Mapping[str, dict]:
        """:meth:`task_facts` of this data set."""
        return self.task_facts(dict(num_classes=self.num_classes))

    @property
    def folders(self) -> Mapping[str, tuple[str, Callable]]:
        """Where the labels are."""
        return {
            task: (folder.format(self.num_classes), read)
            for task, (folder, read) in self.FOLDERS.items()
        }
