"""NYUD-v2 with 40 classes and 4 tasks, in either of two public archives."""

from pathlib import Path
from typing import ClassVar

from mmprotomtl.readers import (
    DataFile,
    check_folder,
    read_classes_from_1,
    read_ids,
    read_normal_picture,
    read_npy,
    read_rgb,
    read_share,
)
from mmprotomtl.registry import DATASETS
from mmprotomtl.utils.errors import DataFileError

from .multitask_dataset import MultiTaskDataset
from .nyuv2 import NYUCamera

CLASSES = (
    'wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door',
    'window', 'bookshelf', 'picture', 'counter', 'blinds', 'desk', 'shelves',
    'curtain', 'dresser', 'pillow', 'mirror', 'floor mat', 'clothes',
    'ceiling', 'books', 'refrigerator', 'television', 'paper', 'towel',
    'shower curtain', 'box', 'whiteboard', 'person', 'night stand', 'toilet',
    'sink', 'lamp', 'bathtub', 'bag', 'other structure', 'other furniture',
    'other prop',
)  # fmt: skip


@DATASETS.register_module()
class NYUDv2Dataset(NYUCamera, MultiTaskDataset):
    """NYUD-v2 with 40 classes, depth, normals and edges, 795 and 654 images.

    ``data_root`` has the folders ``images``, ``segmentation`` (png, 1 .. 40,
    0 = unlabelled), ``depth`` (npy, metres, 0 = unknown), ``normals``,
    ``edge`` and the lists ``gt_sets/{train,val}.txt``. There are two public
    archives; the suffixes of the files decide which one it is:

    * ``NYUDv2``: images png, about 425 x 560; normals png, n = 2 v / 255 - 1;
      edges png, v / 255.
    * ``NYUD_MT``: images jpg, 480 x 640; normals npy, -1 .. 1; edges npy, 0
      or 1.

    Their images are cropped differently, so labels of one archive do not fit
    the images of the other. ``val`` is the official test set.
    """

    METAINFO: ClassVar[dict] = dict(
        tasks=dict(
            semseg=dict(num_classes=40, classes=CLASSES),
            depth=dict(unit='metres', draw_range=(0.5, 8.0)),
            normals=dict(),
            edge=dict(max_dist=0.011),
        )
    )
    PUBLISHED: ClassVar[dict] = dict(train=795, val=654)
    #: Archive -> folder -> suffix and reader, for folders that differ.
    ARCHIVES: ClassVar[dict] = dict(
        NYUDv2=dict(
            images=('.png', read_rgb),
            normals=('.png', read_normal_picture),
            edge=('.png', read_share),
        ),
        NYUD_MT=dict(
            images=('.jpg', read_rgb),
            normals=('.npy', read_npy),
            edge=('.npy', read_npy),
        ),
    )
    #: Folder -> suffix and reader, for folders that both archives share.
    COMMON: ClassVar[dict] = dict(
        segmentation=('.png', read_classes_from_1),
        depth=('.npy', read_npy),
    )
    FOLDERS: ClassVar[dict] = dict(
        semseg='segmentation', depth='depth', normals='normals', edge='edge'
    )

    def _archive(self) -> str:
        """Return the name of the archive that is on disk.

        Raises:
            DataFileError: There are no images, or files of both archives.
        """
        images = Path(self.data_root, 'images')
        hint = (
            '. NYUDv2Dataset expects the archive NYUDv2 (images/*.png) or '
            'NYUD_MT (images/*.jpg), unpacked or linked there (see '
            'docs/datasets.md)'
        )
        check_folder(images, hint)
        found: dict[str, list[str]] = {}
        for folder in ('images', 'normals', 'edge'):
            path = Path(self.data_root, folder)
            names = path.iterdir() if path.is_dir() else ()
            endings = {name.suffix for name in names}
            for archive, forms in self.ARCHIVES.items():
                if forms[folder][0] in endings:
                    place = f'{folder}/*{forms[folder][0]}'
                    found.setdefault(archive, []).append(place)
        if len(found) > 1:
            both = ' and '.join(
                f'{", ".join(places)} of {archive}'
                for archive, places in sorted(found.items())
            )
            raise DataFileError(
                str(self.data_root),
                f'a mixture of two archives: {both}; their crops differ, so '
                'put each into a separate folder',
            )
        if not found:
            raise DataFileError(str(images), f'no images{hint}')
        return next(iter(found))

    def load_data_list(self) -> list[dict]:
        """List the images in the order of the official list.

        Raises:
            DataFileError: The archive or the list of ids is not as expected.
        """
        forms = {**self.COMMON, **self.ARCHIVES[self._archive()]}

        def file(folder: str, sample: str) -> DataFile:
            ending, read = forms[folder]
            path = Path(self.data_root, folder, f'{sample}{ending}')
            return DataFile(str(path), read)

        lists = Path(self.data_root, 'gt_sets', f'{self.split}.txt')
        return [
            dict(
                sample_id=sample,
                image=file('images', sample),
                labels={
                    task: file(folder, sample)
                    for task, folder in self.FOLDERS.items()
                },
            )
            for sample in read_ids(str(lists), self.refuse)
        ]
