"""Write converted samples to a folder, in parallel and resumably.

An interrupted conversion is continued: complete files are kept.
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
from mmprotomtl.utils.files import (
    RECORD,
    remove_drafts,
    write_bytes,
    write_json,
)
from mmprotomtl.utils.parallel import parallel_map

#: The last bytes of a complete PNG file.
PNG_END = b'IEND\xaeB`\x82'


class Job(NamedTuple):
    """The files of one sample that are to be written.

    Attributes:
        source: First argument of the maker, which identifies the sample.
        files: Part of the sample (image or a label) -> output file.
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
    """Write all files that are missing or incomplete.

    Args:
        out: The output folder.
        jobs: All samples of the data set.
        make: Function that takes ``source`` and the names of the wanted parts
            and returns part -> array. It has to be picklable: a module-level
            function or a partial of one.
        record: All settings that affect the content of the files, plain
            values only.
        workers: Number of processes; None: one per CPU core.

    Raises:
        DataFileError: The folder has files that were made with other settings,
            or a source file cannot be used.
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
        print(f'{len(jobs) - len(left)} of {len(jobs)} images exist already.')
    parallel_map(partial(_make, make), left, workers)


def _check_record(
    out: Path, record: dict[str, Any], jobs: Sequence[Job]
) -> None:
    """Refuse to mix files that were made with different settings."""
    path = out / RECORD
    # Tuples become lists, as when the record is read from the file.
    record = json.loads(json.dumps(record))
    if not path.is_file():
        there = next(
            (f for job in jobs for f in job.files.values() if f.exists()), None
        )
        if there:
            raise DataFileError(
                str(there),
                f'already exists, but there is no {RECORD} that records how '
                'it was made; give a folder that is empty or does not exist',
            )
        write_json(path, record)
        return
    try:
        before = json.loads(path.read_text())
        assert isinstance(before, dict)
    except (ValueError, AssertionError) as error:
        raise DataFileError(
            str(path), f'not a valid record of a conversion ({error})'
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
            f'the folder was started with other settings: {changes}. Use the '
            'same settings, or give another folder',
        )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f'{text[:77]}...'


def _make(make: Maker, job: Job) -> None:
    arrays = make(job.source, list(job.files))
    for part, path in job.files.items():
        write_array(path, arrays[part])


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array atomically as ``.npy`` or ``.png``.

    Args:
        path: The file; its suffix decides on the format.
        array: For ``.png``, ``H x W`` or ``H x W x 3``; else any array.
    """
    buffer = io.BytesIO()
    if path.suffix == '.npy':
        np.save(buffer, np.ascontiguousarray(array))
    else:
        Image.fromarray(array).save(buffer, 'PNG')
    write_bytes(path, buffer.getvalue())


def is_whole(path: Path) -> bool:
    """Whether a ``.npy`` or ``.png`` file exists and is not truncated."""
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
    """Resize an image or a label.

    Args:
        array: ``H x W`` or ``H x W x C``.
        size: Height and width in pixels; None: the array is not changed.
        mixed: Whether to average over the source pixels (for photographs);
            otherwise the nearest one is taken (for labels).
    """
    if size is None or array.shape[:2] == tuple(size):
        return array
    how = cv2.INTER_AREA if mixed else cv2.INTER_NEAREST_EXACT
    return cv2.resize(array, size[::-1], interpolation=how)


def report_counts(
    found: Mapping[str, int], published: Mapping[str, int]
) -> None:
    """Print the number of images per split, and the published one if it
    differs.

    Args:
        found: Split -> number of images on disk.
        published: Split -> number of images of the published data set.
    """
    for split, number in found.items():
        extra = f' (published: {published[split]})'
        print(
            f'{split}: {number} images'
            + (extra if number != published[split] else '')
        )
