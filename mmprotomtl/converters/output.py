"""What converters share: a folder that is filled file by file, by several
processes, and filled further after an interruption.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from mmprotomtl.readers.files import map_npy
from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.files import remove_drafts, write_bytes, write_json
from mmprotomtl.utils.parallel import parallel_map

#: In the folder, says what its files were made of and how.
RECORD = 'conversion.json'
#: The last bytes of a whole png.
PNG_END = b'IEND\xaeB`\x82'


class Job(NamedTuple):
    """An image and its labels that are to be made.

    Attributes:
        source: What the maker needs to know of it.
        files: Part of the sample -> its file.
    """

    source: Any
    files: Mapping[str, Path]


Maker = Callable[[Any, Sequence[str]], Mapping[str, np.ndarray]]


def convert(
    out: str | Path,
    jobs: Sequence[Job],
    make: Maker,
    record: dict[str, Any],
    workers: int | None = None,
) -> None:
    """Make the files that are not there yet.

    Args:
        out: The folder.
        jobs: All that it shall hold.
        make: Module-level function, or a partial of one, from ``source`` and
            the names of the parts that are wanted to their arrays.
        record: What decides on the content of the files, plain values only.
        workers: Processes; None: one for each core.

    Raises:
        DataFileError: The folder holds files that were made otherwise, or a
            source can't be used.
    """
    out = Path(out)
    _check_record(out, record, jobs)
    for folder in {path.parent for job in jobs for path in job.files.values()}:
        remove_drafts(folder)
    left = []
    for job in jobs:
        files = {k: v for k, v in job.files.items() if not is_whole(v)}
        if files:
            left.append(Job(job.source, files))
    if len(left) < len(jobs):
        print(f'{len(jobs) - len(left)} of {len(jobs)} images are there.')
    parallel_map(partial(_make, make), left, workers)


def _check_record(
    out: Path, record: dict[str, Any], jobs: Sequence[Job]
) -> None:
    """Refuse to mix what was made in different ways."""
    path = out / RECORD
    # As it comes back from the file: tuples are lists there.
    record = json.loads(json.dumps(record))
    if not path.is_file():
        there = next(
            (f for job in jobs for f in job.files.values() if f.exists()), None
        )
        if there:
            raise DataFileError(
                str(there),
                f'is there, but no {RECORD} that says how it was made; give '
                'a folder that is empty or does not exist',
            )
        write_json(path, record)
        return
    try:
        before = json.loads(path.read_text())
        assert isinstance(before, dict)
    except (ValueError, AssertionError) as error:
        raise DataFileError(
            str(path), f'no record of a conversion ({error})'
        ) from error
    keys = [k for k in {**before, **record} if before.get(k) != record.get(k)]
    if keys:
        changes = '; '.join(
            f'{key} was {_short(before.get(key))}, now it is '
            f'{_short(record.get(key))}'
            for key in keys
        )
        raise DataFileError(
            str(path),
            f'the folder was begun otherwise: {changes}. Go on with the same '
            'settings, or give another folder',
        )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f'{text[:77]}...'


def _make(make: Maker, job: Job) -> None:
    arrays = make(job.source, list(job.files))
    for part, path in job.files.items():
        write_array(path, arrays[part])


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array at once as ``.npy`` or ``.png``, by the file's ending."""
    buffer = io.BytesIO()
    if path.suffix == '.npy':
        np.save(buffer, np.ascontiguousarray(array))
    else:
        Image.fromarray(array).save(buffer, 'PNG')
    write_bytes(path, buffer.getvalue())


def is_whole(path: Path) -> bool:
    """Is a ``.npy`` or ``.png`` there, to its last byte?"""
    try:
        if path.suffix == '.npy':
            map_npy(str(path))
            return True
        with path.open('rb') as file:
            file.seek(-len(PNG_END), io.SEEK_END)
            return file.read() == PNG_END
    except (OSError, ValueError):
        return False


def resize(
    array: np.ndarray, size: tuple[int, int] | None, mixed: bool = False
) -> np.ndarray:
    """Resize ``H x W [x C]`` to ``size`` (height, width; None: as it is).

    Args:
        array: An image or a label.
        size: Pixels.
        mixed: Average over the pixels that fall together (photographs); else
            take the one in the middle.
    """
    if size is None or array.shape[:2] == tuple(size):
        return array
    how = cv2.INTER_AREA if mixed else cv2.INTER_NEAREST_EXACT
    return cv2.resize(array, size[::-1], interpolation=how)


def report_counts(
    found: Mapping[str, int], published: Mapping[str, Any]
) -> None:
    """Print how many images there are, and how many were published."""
    for split, number in found.items():
        extra = f' (published: {published[split]})'
        print(
            f'{split}: {number} images'
            + (extra if number != published[split] else '')
        )
