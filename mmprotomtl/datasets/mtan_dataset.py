"""Base class of the data sets that MTAN published as numbered .npy files."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from mmprotomtl.readers import DataFile, check_folder, read_npy

from .multitask_dataset import MultiTaskDataset


class MTANDataset(MultiTaskDataset):
    """Base class of data sets in the layout of MTAN.

    Files are ``data_root/{train,val}/FOLDER/{i}.npy``. The folder ``image``
    has the images, ``H x W x 3`` in 0 .. 1; a subclass lists the folders of
    its labels in :attr:`FOLDERS`. Row i of a published label mask belongs to
    ``{i}.npy``. ``val`` is the official test set.
    """

    #: Task -> folder of its labels, and the reader of its files.
    FOLDERS: ClassVar[Mapping[str, tuple[str, Callable]]]

    @property
    def folders(self) -> Mapping[str, tuple[str, Callable]]:
        """:attr:`FOLDERS`; a subclass may adapt it to its arguments."""
        return self.FOLDERS

    def load_data_list(self) -> list[dict]:
        """List the images in the order of their numbers.

        Raises:
            DataFileError: The folder is missing or its numbers have gaps.
        """
        root = Path(self.data_root, self.split)
        images = root / 'image'
        expected = ['image', *(name for name, _ in self.folders.values())]
        check_folder(
            images,
            f'. {type(self).__name__} expects {{train,val}}/'
            f'{{{",".join(expected)}}}/{{i}}.npy, the pre-processed data that '
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
                    for task, (folder, read) in self.folders.items()
                },
            )
            for i in numbers
        ]
