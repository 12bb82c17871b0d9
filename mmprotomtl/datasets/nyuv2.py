"""NYU-v2 in the layout of MTAN: 13 classes, 3 tasks."""

from typing import ClassVar

from mmprotomtl.readers import read_classes, read_npy
from mmprotomtl.registry import DATASETS

from .mtan_dataset import MTANDataset

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
    """NYU-v2 as MTAN published it; all partial-label papers use this form.

    Files are ``data_root/{train,val}/{image,label,depth,normal}/{i}.npy``,
    795 and 654 samples of 288 x 384 pixels. Images are ``H x W x 3`` in
    0 .. 1, labels -1 .. 12 (-1 = unlabelled), depth is ``H x W x 1`` in metres
    (0 = unknown), normals are unit vectors ``H x W x 3`` ((0, 0, 0) =
    unknown). ``val`` is the official test set. Row i of a published label mask
    belongs to ``{i}.npy``.
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
