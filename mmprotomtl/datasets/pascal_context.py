"""PASCAL-Context with 5 tasks."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

from mmprotomtl.readers import (
    DataFile,
    check_folder,
    read_edges,
    read_ids,
    read_normals,
    read_parts,
    read_picture,
    read_rgb,
    read_saliency,
    scan_people,
)
from mmprotomtl.registry import DATASETS

from .multitask_dataset import MultiTaskDataset

CLASSES = (
    'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus',
    'car', 'cat', 'chair', 'cow', 'dining table', 'dog', 'horse', 'motorbike',
    'person', 'potted plant', 'sheep', 'sofa', 'train', 'tv monitor',
)  # fmt: skip


@DATASETS.register_module()
class PASCALContextMTDataset(MultiTaskDataset):
    """PASCAL-Context with semantic segmentation, human parts, saliency,
    normals and edges, 4,998 and 5,105 images.

    ``data_root`` is the archive ``PASCALContext`` or ``PASCAL_MT``. Both have
    the same layout:

    * ``JPEGImages/{id}.jpg``, ``ImageSets/Context/{train,val}.txt``;
    * ``semseg/VOC12/{id}.png``, or if it does not exist
      ``semseg/pascal-context/{id}.png``: the 21 classes of PASCAL VOC (not
      mmseg's 59 or 60), 255 = unlabelled;
    * ``human_parts/{id}.mat``: PASCAL-Part; the parts of people are grouped to
      6 classes, and an image without people counts as unlabelled;
    * ``pascal-context/trainval/{id}.mat``: ``LabelMap``; edges are the
      boundaries between its 459 classes;
    * ``normals_distill/{id}.png``: n = 2 v / 255 - 1; valid pixels are those
      whose class in ``LabelMap`` is one of 170;
    * ``sal_distill/{id}.png``: salient where v / 255 > 0.5.

    Normals and saliency are predictions of networks; all published results
    use them as labels. ``val`` is the test set.

    Args:
        cache_dir: Folder that caches which images show people (needed if a
            protocol draws a label mask); None: the user's cache folder.
        **kwargs: See :class:`MultiTaskDataset`.
    """

    METAINFO: ClassVar[dict] = dict(
        tasks=dict(
            semseg=dict(num_classes=21, classes=CLASSES),
            human_parts=dict(),
            sal=dict(),
            normals=dict(),
            edge=dict(max_dist=0.0075),
        )
    )
    PUBLISHED: ClassVar[dict] = dict(train=4998, val=5105)
    #: Folders of semantic labels, in order of preference.
    SEMSEG: ClassVar[tuple] = ('semseg/VOC12', 'semseg/pascal-context')
    #: Tasks that are labelled only in images with people.
    OF_PEOPLE: ClassVar[tuple] = ('human_parts',)

    def __init__(self, cache_dir: str | None = None, **kwargs) -> None:
        self.cache_dir = cache_dir
        self._part_files: dict[str, DataFile] = {}
        self._people: set[str] | None = None
        super().__init__(**kwargs)

    def applicable(self, sample_id: str, task: str) -> bool:
        """Whether an image can have the label; body parts need a person."""
        if task not in self.OF_PEOPLE:
            return True
        if self._people is None:
            self._people = scan_people(self._part_files, self.cache_dir)
        return sample_id in self._people

    def load_data_list(self) -> list[dict]:
        """List the images in the order of the official list.

        Raises:
            DataFileError: The folder or the list of ids is not as expected.
        """
        root = Path(self.data_root)
        check_folder(
            root / 'JPEGImages',
            '. PASCALContextMTDataset expects the archive PASCALContext or '
            'PASCAL_MT, unpacked or linked there (see docs/datasets.md)',
        )
        first = root / self.SEMSEG[0]
        voc = set(os.listdir(first)) if first.is_dir() else set()
        samples = []
        lists = root / 'ImageSets' / 'Context' / f'{self.split}.txt'
        for sample in read_ids(str(lists), self.refuse):
            image = str(root / 'JPEGImages' / f'{sample}.jpg')
            label_map = str(root / 'pascal-context/trainval' / f'{sample}.mat')
            semseg = self.SEMSEG[f'{sample}.png' not in voc]
            labels: dict[str, tuple[str, Callable]] = dict(
                semseg=(f'{semseg}/{sample}.png', read_picture),
                human_parts=(
                    f'human_parts/{sample}.mat',
                    partial(read_parts, image=image),
                ),
                sal=(f'sal_distill/{sample}.png', read_saliency),
                normals=(
                    f'normals_distill/{sample}.png',
                    partial(read_normals, label_map=label_map),
                ),
                edge=(f'pascal-context/trainval/{sample}.mat', read_edges),
            )
            files = {
                task: DataFile(str(root / path), read)
                for task, (path, read) in labels.items()
            }
            self._part_files[sample] = files['human_parts']
            samples.append(
                dict(
                    sample_id=sample,
                    image=DataFile(image, read_rgb),
                    labels=files,
                )
            )
        return samples
