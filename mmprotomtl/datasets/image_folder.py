"""A user's own data: a folder of images and a folder of labels per task."""

from collections.abc import Container, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from mmprotomtl.label_masks import LabelMask
from mmprotomtl.readers import (
    DataFile,
    check_folder,
    image_file,
    plain_name,
    read_ids,
    read_label,
)
from mmprotomtl.readers.labels import OWN_ENDINGS
from mmprotomtl.readers.pictures import PHOTO_ENDINGS
from mmprotomtl.registry import DATASETS
from mmprotomtl.utils.errors import DataFileError, check_choice

from .multitask_dataset import MultiTaskDataset

#: File name suffixes of images.
IMAGE_ENDINGS = (*PHOTO_ENDINGS, '.npy')
#: Suffixes of unsupported image formats. Such files are refused rather than
#: skipped, so that no image is missing without notice.
OTHER_IMAGES = ('.gif', '.heic', '.heif', '.avif', '.jp2', '.jfif', '.ppm')
#: Allowed options of a label folder.
OPTIONS = (
    'folder', 'scale', 'offset', 'ignore', 'threshold', 'key', 'votes',
)  # fmt: skip
#: Options that are allowed for binary labels only.
BINARY_OPTIONS = ('threshold', 'votes')


@DATASETS.register_module()
class ImageFolderMTDataset(MultiTaskDataset):
    """A folder of images, and a folder of labels for each task.

    Image and label have the same file name apart from the suffix. An image
    without a label file of a task is unlabelled for that task; nothing else
    has to be declared. Labels are image files (png, tiff; jpg for regression
    tasks only), ``npy`` or ``mat`` files. By default their values are those
    that the task expects (classes from 0, 255 = unlabelled; depth in metres;
    ...); options of the folder convert other values::

        folders=dict(
            semseg=dict(folder='masks', ignore=(0, 255), offset=-1),  # from 1
            depth=dict(folder='depth', scale=0.001),        # millimetres
            normals=dict(folder='normals', scale=2 / 255, offset=-1),
            sal=dict(folder='sal', scale=1 / 255, threshold=0.5),  # 0 .. 255
            edge=dict(folder='edges', key='groundTruth.Boundaries', votes=2),
        )

    Args:
        folders: Task -> folder of its labels, relative to ``data_root``, or a
            dict with ``folder`` and the optional ``scale``, ``offset``,
            ``ignore``, ``threshold``, ``key`` and ``votes``, see
            :func:`mmprotomtl.readers.read_label`.
        tasks: The config's ``tasks``. Each task needs a folder.
        images: Folder of the images, relative to ``data_root``.
        ids: File with the ids (file names without suffix) of the images to
            use, one per line; None: all images.
        **kwargs: See :class:`MultiTaskDataset`. ``{split}`` in ``images``,
            ``ids`` or a folder is replaced by ``split``.

    Raises:
        ValueError: A task has no folder, or an option is unknown.
        DataFileError: A folder is missing, two files of a folder differ in
            their suffix only, or a label has no image.
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
        self.folders = {
            name: _check_options(name, given)
            for name, given in folders.items()
        }
        self.images = images
        self.ids = ids
        self._labelled: dict[str, tuple[str, ...]] = {}
        super().__init__(tasks=tasks, **kwargs)

    @classmethod
    def task_facts(cls, args: Mapping) -> Mapping[str, dict]:
        """Return the tasks with a folder; the files tell nothing more."""
        return {name: {} for name in args['folders']}

    def known_tasks(self) -> Mapping[str, dict]:
        """Return :meth:`task_facts` for this data set's arguments."""
        return self.task_facts(dict(folders=self.folders))

    def has_label(self, sample_id: str, task: str) -> bool:
        """Whether the image has a label file of the task."""
        return task in self._labelled[sample_id]

    def applicable(self, sample_id: str, task: str) -> bool:
        """Whether the image has a label file of the task."""
        return self.has_label(sample_id, task)

    def make_label_mask(self, samples: Sequence[str]) -> LabelMask:
        """Make the label mask; without ``partial_labels``, use every file."""
        mask = super().make_label_mask(samples)
        if mask is None:
            mask = LabelMask(self._labelled, list(self.tasks), 'as-on-disk')
        return mask

    def _path(self, place: str) -> Path:
        return Path(self.data_root, place.replace('{split}', self.split))

    def _list(self, place: str, images: Container = ()) -> dict[str, Path]:
        """List the files of a folder by their names without suffix.

        In a folder of labels (``images`` given), a file that has the name of
        an image but an unsupported suffix is refused rather than skipped.
        """
        folder = self._path(place)
        check_folder(folder, ' (see docs/own_data.md)')
        endings = OWN_ENDINGS if images else IMAGE_ENDINGS
        files: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.name[0] == '.':
                continue
            stem, ending = plain_name(path.stem), path.suffix.lower()
            if ending not in endings:
                if stem in images:
                    self.refuse(
                        str(path),
                        'has the name of an image, but its format is not '
                        f'supported; use {", ".join(endings)}',
                    )
                elif not images and ending in OTHER_IMAGES:
                    self.refuse(
                        str(path),
                        'an image of a format that is not supported; use '
                        f'{", ".join(endings)}',
                    )
                continue
            if stem in files:
                self.refuse(
                    str(path),
                    f'{files[stem].name} has the same name: expected one file '
                    'for each image',
                )
            files[stem] = path
        return files

    def load_data_list(self) -> list[dict]:
        """List the images, sorted by name or in the order of ``ids``.

        Raises:
            DataFileError: There is no image, or see the class.
        """
        images = self._list(self.images)
        if not images:
            raise DataFileError(
                str(self._path(self.images)),
                f'no image in it; images are {", ".join(IMAGE_ENDINGS)}',
            )
        labels: dict[str, dict[str, DataFile]] = {stem: {} for stem in images}
        for name, options in self.folders.items():
            options = dict(options)
            files = self._list(options.pop('folder'), images)
            note = ''
            if name in self.tasks:
                task = self.tasks[name]
                note = _note(name, options, task.label_kind)
                options.update(invalid=task.invalid, kind=task.label_kind)
                _check_binary(name, options)
            read = partial(read_label, **options)
            for stem, file in files.items():
                if stem in labels:
                    labels[stem][name] = DataFile(str(file), read, note)
                else:
                    self.refuse(
                        str(file),
                        f'a label of {name!r} without an image: there is no '
                        f'{stem!r} in {self._path(self.images)}',
                    )
        samples = []
        for stem in self._chosen(images):
            samples.append(
                dict(
                    sample_id=stem,
                    image=image_file(images[stem]),
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
                    f'there is no image {sample!r} in '
                    f'{self._path(self.images)}',
                )
        return [sample for sample in chosen if sample in images]


def _check_options(task: str, given: str | Mapping) -> dict:
    """Return the checked options of a label folder.

    Raises:
        ValueError: An option is unknown or not allowed, or ``folder`` is
            missing.
    """
    options = dict(folder=given) if isinstance(given, str) else dict(given)
    for key in options:
        check_choice(f'folders.{task}: key', key, OPTIONS)
    if 'folder' not in options:
        raise ValueError(f'folders.{task}={given!r} names no folder')
    votes = options.get('votes')
    if votes is not None and (not isinstance(votes, int) or votes < 1):
        raise ValueError(
            f'folders.{task}.votes={votes!r} is not allowed: give a number of '
            'annotators, 1 or more'
        )
    return options


def _check_binary(task: str, options: Mapping) -> None:
    for key in BINARY_OPTIONS:
        if options.get(key) is not None and options['kind'] != 'binary':
            raise ValueError(
                f'folders.{task}.{key}={options[key]!r} is not allowed: it '
                f'converts a label to 0 and 1, and {task} is not a binary '
                'task'
            )


def _note(task: str, options: Mapping, kind: str) -> str:
    """Describe the settings that decide on a label's values, for errors."""
    given = ', '.join(f'{key}={value!r}' for key, value in options.items())
    text = (
        f'folders.{task} has {given or "no options"}: the label is the stored '
        'value x scale + offset, and `ignore` names the stored values of '
        'pixels without a label'
    )
    if kind == 'binary':
        text += '; `threshold` converts other values to 0 and 1'
    return text
