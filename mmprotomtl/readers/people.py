"""Find the images that show people, by scanning label files, with a cache."""

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
    """Return the default folder of the cache.

    It is ``$XDG_CACHE_HOME/mmprotomtl``; ``~/.cache/mmprotomtl`` if the
    variable is not set; and in the system's temporary folder if the user has
    no home.
    """
    base = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    if not os.path.isabs(base):
        base = tempfile.gettempdir()
    return Path(base, 'mmprotomtl')


def scan_people(
    files: Mapping[str, DataFile], cache_dir: str | Path | None = None
) -> set[str]:
    """Return the ids of the images whose label has a body part.

    Every label has to be read, so the result is cached in a file. The name of
    this file depends on the labels' paths, sizes and modification times, so
    changed labels are scanned again. It is written atomically, so several
    processes may do it concurrently.

    Args:
        files: Image id -> label file of body parts.
        cache_dir: Folder of the cache; None: :func:`default_cache_dir`. If it
            cannot be written, a warning is given and nothing is cached.

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
    """Read the cached result; None if it is missing or invalid."""
    try:
        content = json.loads(cache.read_text())
        people = set(content['people'])
        fits = content['images'] == len(files) and people <= set(files)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return people if fits else None
