"""NYU-v2 in the form of MTAN: 13 classes, 3 tasks."""

from typing import ClassVar

from mmprotomtl.readers.files import read_npy
from mmprotomtl.registry import DATASETS

from .mtan_dataset import MTANDataset, read_classes

CLASSES = (
    'bed',
    'books',
    'ceiling',
    'chair',
    'floor',
    'furniture',
    'objects',
    'picture',
    'sofa',
    'table',
    'tv',
    'wall',
    'window',
)


@DATASETS.register_module()
class NYUv2Dataset(MTANDataset):
    """NYU-v2 as MTAN published it, the form of all partial-label tables.

    ``data_root/{train,val}/{image,label,depth,normal}/{i}.npy``, 795 and 654
    samples at 288 x 384: image ``H x W x 3`` in 0 .. 1, label -1 .. 12 (-1 =
    unlabelled), depth ``H x W x 1`` in metres (0 = unknown), normal ``H x W x
    3`` unit vectors ((0, 0, 0) = unknown). ``val`` is the official test set.
    Row i of a published label mask is ``{i}.npy``.
    """

    METAINFO: ClassVar[dict] = dict(
        tasks=dict(
            semseg=dict(num_classes=13, classes=CLASSES),
            depth=dict(draw_range=(0.5, 8.0)),
            normals=dict(),
        )
    )
    PUBLISHED: ClassVar[dict] = dict(train=795, val=654)
    FOLDERS: ClassVar[dict] = dict(
        semseg=('label', read_classes),
        depth=('depth', read_npy),
        normals=('normal', read_npy),
    )
