"""NYU-v2 in the form of MTAN: 13 classes, 3 tasks."""

import re
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmprotomtl.registry import DATASETS
from mmprotomtl.utils.errors import DataFileError

from .files import DataFile, read_npy
from .multitask_dataset import MultiTaskDataset

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


def read_classes(path: str, unlabelled: int = -1) -> np.ndarray:
    """Classes stored as numbers, ``unlabelled`` becoming 255."""
    label = read_npy(path)
    if label.dtype == np.int8:
        label = label.astype(np.int16)  # 255 is no int8
    return np.where(label == unlabelled, 255, label)


@DATASETS.register_module()
class NYUv2Dataset(MultiTaskDataset):
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
            depth=dict(metric='absErr', draw_range=(0.5, 8.0)),
            normals=dict(loss_weight=1.0),
        )
    )
    PUBLISHED: ClassVar[dict] = dict(train=795, val=654)
    FOLDERS: ClassVar[dict] = dict(
        semseg=('label', read_classes),
        depth=('depth', read_npy),
        normals=('normal', read_npy),
    )

    def load_data_list(self) -> list[dict]:
        """List the images in the order of their numbers.

        Raises:
            DataFileError: The folder is missing or its numbers have gaps.
        """
        root = Path(self.data_root, self.split)
        images = root / 'image'
        if not images.is_dir():
            raise DataFileError(
                str(images),
                'no such folder. NYUv2Dataset expects {train,val}/{image,'
                'label,depth,normal}/{i}.npy, the pre-processed NYU-v2 that '
                'MTAN published; put it, or a link to it, there (see '
                'docs/datasets.md)',
            )
        names = [p.name for p in images.iterdir()]
        numbers = sorted(
            int(n[:-4]) for n in names if re.match(r'\d+\.npy$', n)
        )
        if numbers != list(range(len(numbers))):
            for gap in sorted(set(range(numbers[-1])).difference(numbers)):
                self.refuse(
                    str(images / f'{gap}.npy'),
                    f'missing, though there are numbers up to {numbers[-1]}: '
                    'label masks count the images from 0 without gaps',
                )
        return [
            dict(
                sample_id=str(i),
                image=DataFile(str(images / f'{i}.npy'), read_npy),
                labels={
                    task: DataFile(str(root / folder / f'{i}.npy'), read)
                    for task, (folder, read) in self.FOLDERS.items()
                },
            )
            for i in numbers
        ]
