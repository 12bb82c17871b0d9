"""Convert the official Cityscapes archives to the layout of MTAN."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmprotomtl.datasets.cityscapes import CityscapesMTDataset
from mmprotomtl.readers import DataFile, read_picture, read_rgb
from mmprotomtl.utils.errors import DataFileError

from .output import Job, convert, report_counts, resize

#: Official class (``labelIds``) -> training class. All other classes are not
#: evaluated and become -1.
TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9,
    23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip
#: Training class -> category: flat, construction, object, nature, sky, human,
#: vehicle.
CATEGORIES = (0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 5, 6, 6, 6, 6, 6, 6)
#: Number of official classes; they are 0 .. 33.
NUM_IDS = 34
#: Folder -> suffix of its file names, after the name of the frame.
FOLDERS = dict(
    leftImg8bit='_leftImg8bit.png',
    gtFine='_gtFine_labelIds.png',
    disparity='_disparity.png',
)
#: Unit of MTAN's ``depth`` in pixels: its value 1 means a disparity of 256
#: pixels at the official image width of 2048 pixels.
DISPARITY_UNIT = 256


def class_tables() -> dict[str, np.ndarray]:
    """Return the look-up tables of the two label sets.

    Returns:
        ``label_7`` and ``label_19``, each a float32 array of length 34 that
        maps an official class to the class of the label set; -1 = unlabelled.
    """
    nineteen = np.full(NUM_IDS, -1, np.float32)
    nineteen[list(TRAIN_IDS)] = list(TRAIN_IDS.values())
    seven = np.append(CATEGORIES, -1)[nineteen.astype(int)]
    return dict(label_7=seven.astype(np.float32), label_19=nineteen)


def list_frames(root: str | Path, split: str) -> list[str]:
    """List the frames of a split, ``city/city_000000_000019``, sorted.

    Raises:
        DataFileError: A folder is missing or empty, or frames have no label or
            no disparity; the message has the first one and their number.
    """
    for folder in FOLDERS:
        path = Path(root, folder, split)
        if not path.is_dir():
            raise DataFileError(
                str(path),
                f'no such folder; unpack {folder}_trainvaltest.zip of '
                f'www.cityscapes-dataset.com into {root}',
            )
    images, ending = Path(root, 'leftImg8bit', split), FOLDERS['leftImg8bit']
    frames = sorted(
        str(path.relative_to(images)).removesuffix(ending)
        for path in images.glob(f'*/*{ending}')
    )
    if not frames:
        raise DataFileError(str(images), f'no image CITY/*{ending} in it')
    for folder in FOLDERS:
        paths = (_file(root, folder, split, frame) for frame in frames)
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise DataFileError(
                str(missing[0]),
                f'no such file; {len(missing)} of {len(frames)} images of '
                f'{split} have no {folder}',
            )
    return frames


def _file(root: str | Path, folder: str, split: str, frame: str) -> Path:
    return Path(root, folder, split, f'{frame}{FOLDERS[folder]}')


def read_disparity(path: str) -> np.ndarray:
    """Read official disparity and convert it to the unit of MTAN.

    The stored value v means (v - 1) / 256 pixels. The result is in units of
    256 pixels.

    Returns:
        ``H x W`` float32; 0 = unknown.

    Raises:
        DataFileError: The file is not a 16-bit greyscale image.
    """
    stored = read_picture(path)
    if stored.ndim != 2 or stored.dtype != np.uint16:
        raise DataFileError(
            path,
            f'{stored.shape} of {stored.dtype}; official disparity is H x W '
            'of uint16',
        )
    # Converted first, because 0 - 1 would be 65535 in uint16.
    pixels = (stored.astype(np.float64) - 1) / 256
    return (pixels.clip(min=0) / DISPARITY_UNIT).astype(np.float32)


def read_label_ids(path: str) -> np.ndarray:
    """Read a label of official classes, ``H x W``, 0 .. 33.

    Raises:
        DataFileError: The file does not contain such classes.
    """
    label = read_picture(path)
    if label.ndim != 2 or label.dtype.kind not in 'iu':
        raise DataFileError(
            path,
            f'{label.shape} of {label.dtype}; expected H x W numbers of '
            'classes (labelIds)',
        )
    if label.size and not 0 <= label.min() <= label.max() < NUM_IDS:
        raise DataFileError(
            path,
            f'classes {label.min()} .. {label.max()}; labelIds are 0 .. '
            f'{NUM_IDS - 1}',
        )
    return label


def make_sample(
    root: str,
    size: tuple[int, int],
    source: tuple[str, str],
    parts: Sequence[str],
) -> dict[str, np.ndarray]:
    """Make the arrays of one frame in the layout of MTAN.

    Args:
        root: The folder of the official archives.
        size: Height and width of the result in pixels.
        source: Split and frame.
        parts: The wanted arrays out of ``image``, ``label_7``, ``label_19``
            and ``depth``.

    Returns:
        Part -> float32 array: ``image`` is ``H x W x 3`` in 0 .. 1, labels are
        ``H x W``, ``depth`` is ``H x W x 1``.

    Raises:
        DataFileError: A file cannot be read, or the sizes of image and labels
            differ.
    """
    files = {
        folder: DataFile(str(_file(root, folder, *source)), read)
        for folder, read in (
            ('leftImg8bit', read_rgb),
            ('gtFine', read_label_ids),
            ('disparity', read_disparity),
        )
    }
    arrays = {folder: file.load() for folder, file in files.items()}
    expected = arrays['leftImg8bit'].shape[:2]
    for folder, array in arrays.items():
        if array.shape[:2] != expected:
            raise DataFileError(
                files[folder].path,
                f'{array.shape[:2]} pixels, but its image has {expected}',
            )
    image = resize(arrays['leftImg8bit'], size, mixed=True)
    made = dict(
        image=image.astype(np.float32) / 255,
        depth=resize(arrays['disparity'], size)[..., None],
    )
    label = resize(arrays['gtFine'], size)
    for part, table in class_tables().items():
        made[part] = table[label]
    return {part: made[part] for part in parts}


def convert_cityscapes(
    root: str | Path,
    out: str | Path,
    size: tuple[int, int] = (128, 256),
    workers: int | None = None,
) -> None:
    """Convert the official folders to the layout of MTAN.

    :class:`CityscapesMTDataset` reads the result.

    Args:
        root: Folder with ``leftImg8bit``, ``gtFine`` and ``disparity``.
        out: Output folder. Complete files of an interrupted conversion are
            kept.
        size: Height and width of the result in pixels.
        workers: Number of processes; None: one per CPU core.

    Raises:
        DataFileError: Files are missing, see :func:`list_frames`, or a file
            cannot be used.
    """
    published = CityscapesMTDataset.PUBLISHED
    frames = {split: list_frames(root, split) for split in published}
    report_counts({s: len(names) for s, names in frames.items()}, published)
    parts = ('label_7', 'label_19', 'depth', 'image')
    jobs = [
        Job(
            (split, frame),
            {part: Path(out, split, part, f'{i}.npy') for part in parts},
        )
        for split, names in frames.items()
        for i, frame in enumerate(names)
    ]
    record = dict(data_set='Cityscapes', form='mtan', size=size, images=frames)
    convert(out, jobs, partial(make_sample, str(root), size), record, workers)
