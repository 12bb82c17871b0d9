"""Which images show people: a scan of label files, and its cache."""

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.files import write_json

from .files import DataFile


def default_cache_dir() -> Path:
    """``$XDG_CACHE_HOME/mmprotomtl``, or the same below ``~/.cache``, or
    below the folder for temporary files where the user has no home.
    """
    base = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    if not os.path.isabs(base):
        base = tempfile.gettempdir()
    return Path(base, 'mmprotomtl')


def scan_people(
    files: Mapping[str, DataFile], cache_dir: str | Path | None = None
) -> set[str]:
    """The images whose label has a body part.

    It reads every label, so the result is kept in a file whose name follows
    from the labels' names, sizes and times of change: of changed labels
    there is none. It is written at once, by however many processes.

    Args:
        files: Image id -> label of its body parts.
        cache_dir: Where the result is kept; None: :func:`default_cache_dir`.
            Where it can't be written, a warning says so, once.

    Raises:
        DataFileError: A label cannot be read.
    """
    cache = Path(
        cache_dir or default_cache_dir(), f'people-{_key(files)}.json'
    )
    known = _read(cache, files)
    if known is not None:
        return known
    people = {sample for sample, file in files.items() if file.load().any()}
    try:
        write_json(cache, dict(images=len(files), people=sorted(people)))
    except OSError as error:
        warnings.warn(
            f'{cache}: not written ({error.strerror}); {len(files)} labels '
            'are read again next time. Set cache_dir to a folder that can be '
            'written'
        )
    return people


def _key(files: Mapping[str, DataFile]) -> str:
    lines = []
    for sample, file in sorted(files.items()):
        try:
            state = os.stat(file.path)
        except OSError as error:
            raise DataFileError(
                file.path, f'no such label ({error.strerror})'
            ) from error
        path = os.path.abspath(file.path)
        lines.append([sample, path, state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:32]


def _read(cache: Path, files: Mapping[str, DataFile]) -> set[str] | None:
    """What is cached, or None if it is not there or not whole."""
    try:
        content = json.loads(cache.read_text())
        people = set(content['people'])
        fits = content['images'] == len(files) and people <= set(files)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return people if fits else None
