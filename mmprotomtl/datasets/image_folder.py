"""People's own data: a folder of images and one of labels for each task."""

from collections.abc import Container, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmprotomtl.label_masks import LabelMask
from mmprotomtl.readers.files import (
    DataFile,
    check_folder,
    read_npy,
    read_picture,
    read_rgb,
)
from mmprotomtl.readers.ids import read_ids
from mmprotomtl.registry import DATASETS
from mmprotomtl.utils.errors import DataFileError, check_choice

from .multitask_dataset import MultiTaskDataset

#: What files may be.
ENDINGS = ('.png', '.jpg', '.jpeg', '.npy')
#: Options of a folder of labels.
OPTIONS = ('folder', 'scale', 'offset', 'ignore')


def read_label(
    path: str,
    scale: float = 1.0,
    offset: float = 0.0,
    ignore: float | Sequence[float] = (),
    invalid: float = 255,
) -> np.ndarray:
    """A label as its task has it: stored value x ``scale`` + ``offset``.

    Args:
        path: A picture or a ``.npy`` file.
        scale: Factor.
        offset: Summand.
        ignore: Stored values (in all channels) of pixels without a label.
        invalid: What these become.

    Raises:
        DataFileError: It holds no numbers.
    """
    stored = (read_npy if _is_npy(path) else read_picture)(path)
    if stored.dtype.kind not in 'biuf':
        raise DataFileError(path, f'values of type {stored.dtype}')
    ignored = np.isin(stored, ignore)
    if stored.ndim == 3:
        ignored = np.asarray(ignored.all(-1, keepdims=True))
    if scale == 1 and offset == 0 and not ignored.any():
        return stored
    value = stored.astype(np.float64) * scale + offset
    # What becomes `invalid` by chance (class 256, counted from 1) is no
    # pixel without a label; a task of classes refuses NaN.
    value[(value == invalid) & (stored != invalid)] = np.nan
    return np.where(ignored, invalid, value)


def _is_npy(path: str) -> bool:
    return Path(path).suffix.lower() == '.npy'


@DATASETS.register_module()
class ImageFolderMTDataset(MultiTaskDataset):
    """A folder of images, and a folder of labels for each task.

    A label belongs to the image of the same name without its ending; an image
    without a label of a task has none, and that is all there is to say of
    missing annotation. Files are ``png``, ``jpg`` or ``npy``; what their
    values mean is said by the task (classes from 0, 255 = unlabelled; depth
    in metres; ...), or by the options of the folder::

        folders=dict(
            semseg=dict(folder='masks', ignore=0, offset=-1),  # from 1
            depth=dict(folder='depth', scale=0.001),           # millimetres
            normals=dict(folder='normals', scale=2 / 255, offset=-1),
            sal=dict(folder='sal', scale=1 / 255),             # 0 and 255
            edge='edges',
        )

    Args:
        folders: Task -> folder of its labels, below ``data_root``, or a dict
            of ``folder``, ``scale``, ``offset`` and ``ignore``, see
            :func:`read_label`.
        tasks: As the config's ``tasks``, all of them among ``folders``.
        images: Folder of the images.
        ids: File with the ids (names without ending) of the images that are
            used, one a line; None: all.
        **kwargs: See :class:`MultiTaskDataset`. ``{split}`` in ``images``,
            ``ids`` or a folder becomes ``split``.

    Raises:
        ValueError: A task has no folder, or an option is unknown.
        DataFileError: A folder is missing, two files have one name, or a
            label has no image.
    """

    SPLITS: ClassVar[Sequence[str]] = ('train', 'val', 'test')
    TEST_SPLITS: ClassVar[Sequence[str]] = ('test',)

    def __init__(
        self,
        folders: Mapping[str, str | dict],
        tasks: Mapping[str, dict],
        images: str = 'images',
        ids: str | None = None,
        **kwargs,
    ) -> None:
        self.folders = {}
        for name, given in folders.items():
            options = dict(folder=given) if isinstance(given, str) else given
            for key in options:
                check_choice(f'folders.{name}: key', key, OPTIONS)
            if 'folder' not in options:
                raise ValueError(f'folders.{name}={given!r} names no folder')
            self.folders[name] = dict(options)
        self.images = images
        self.ids = ids
        self._labelled: dict[str, tuple[str, ...]] = {}
        super().__init__(tasks=tasks, **kwargs)

    @classmethod
    def task_facts(cls, args: Mapping) -> Mapping[str, dict]:
        """Those that have a folder; what they mean is the config's matter."""
        return {name: {} for name in args['folders']}

    def known_tasks(self) -> Mapping[str, dict]:
        """:meth:`task_facts` of this data set."""
        return self.task_facts(dict(folders=self.folders))

    def has_label(self, sample_id: str, task: str) -> bool:
        """Whether there is a file."""
        return task in self._labelled[sample_id]

    def applicable(self, sample_id: str, task: str) -> bool:
        """Whether there is a label."""
        return self.has_label(sample_id, task)

    def make_label_mask(self, samples: Sequence[str]) -> LabelMask:
        """The label mask; without ``partial_labels``, every file is used."""
        mask = super().make_label_mask(samples)
        if mask is None:
            mask = LabelMask(self._labelled, list(self.tasks), 'as-on-disk')
        return mask

    def _path(self, place: str) -> Path:
        return Path(self.data_root, place.replace('{split}', self.split))

    def _list(self, place: str, images: Container = ()) -> dict[str, Path]:
        """The files of a folder by their names without ending; one that has
        an image's name and another ending is refused, not passed over.
        """
        folder = self._path(place)
        check_folder(folder, ' (see docs/datasets.md)')
        files: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in ENDINGS or path.name[0] == '.':
                if path.stem in images:
                    self.refuse(
                        str(path),
                        'has the name of an image, but is none of '
                        f'{", ".join(ENDINGS)}',
                    )
                continue
            if path.stem in files:
                self.refuse(
                    str(path),
                    f'{files[path.stem].name} has the same name: expected '
                    'one file for each image',
                )
            files[path.stem] = path
        return files

    def load_data_list(self) -> list[dict]:
        """List the images in the order of their names, or of ``ids``.

        Raises:
            DataFileError: See the class.
        """
        images = self._list(self.images)
        if not images:
            raise DataFileError(
                str(self._path(self.images)),
                f'no image in it; images are {", ".join(ENDINGS)}',
            )
        labels: dict[str, dict[str, DataFile]] = {stem: {} for stem in images}
        for name, options in self.folders.items():
            options = dict(options)
            if name in self.tasks:
                options['invalid'] = self.tasks[name].invalid
            files = self._list(options.pop('folder'), images)
            read = partial(read_label, **options)
            for stem, file in files.items():
                if stem in labels:
                    labels[stem][name] = DataFile(str(file), read)
                else:
                    self.refuse(
                        str(file),
                        f'a label of {name!r} without an image: there is no '
                        f'{stem!r} in {self._path(self.images)}',
                    )
        samples = []
        for stem in self._chosen(images):
            path = str(images[stem])
            read_image = read_npy if _is_npy(path) else read_rgb
            samples.append(
                dict(
                    sample_id=stem,
                    image=DataFile(path, read_image),
                    labels=labels[stem],
                )
            )
            self._labelled[stem] = tuple(labels[stem])
        return samples

    def _chosen(self, images: Mapping[str, Path]) -> list[str]:
        if self.ids is None:
            return list(images)
        path = str(self._path(self.ids))
        chosen = read_ids(path, self.refuse)
        for sample in chosen:
            if sample not in images:
                self.refuse(
                    path,
                    f'{sample!r} is no image in {self._path(self.images)}',
                )
        return [sample for sample in chosen if sample in images]
