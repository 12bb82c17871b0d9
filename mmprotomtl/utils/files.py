"""Atomic writing of files."""

import json
import os
import re
from pathlib import Path


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file atomically.

    If the process is killed or the disk is full, the old file remains, or none
    if there was none; there is never a partial file.

    Args:
        path: The file; missing parent folders are made.
        content: Content of the file.

    Raises:
        OSError: The file cannot be written; the message names it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        with draft.open('wb') as file:
            file.write(content)
            file.flush()
            # The content must be on disk before the file is renamed.
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f'{error.strerror}; {len(content) / 1e6:.1f} MB could not be '
            'written, a file that existed before is unchanged',
            str(path),
        ) from error


def remove_drafts(folder: str | Path) -> None:
    """Remove temporary files of killed :func:`write_bytes` in a folder."""
    for path in Path(folder).glob('.*'):
        draft = re.fullmatch(r'\..+\.(\d+)', path.name)
        if draft and not _runs(int(draft[1])):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether a process with this id exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, see :func:`write_bytes`."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: object) -> None:
    """Write JSON atomically; NaN, which JSON does not have, becomes null."""
    write_text(path, json.dumps(_plain(value), indent=2) + '\n')


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value
