"""Files that are either whole or not there."""

import json
import os
import re
from pathlib import Path


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file at once: a killed run, or a full disk, leaves the old one
    or none.

    Raises:
        OSError: It cannot be written; the message names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        with draft.open('wb') as file:
            file.write(content)
            file.flush()
            # The name shall not be there before the content is.
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f'{error.strerror}; {len(content) / 1e6:.1f} MB were to be '
            'written, what was there before is untouched',
            str(path),
        ) from error


def remove_drafts(folder: str | Path) -> None:
    """Remove what killed runs of :func:`write_bytes` left in a folder."""
    for path in Path(folder).glob('.*'):
        draft = re.fullmatch(r'\..+\.(\d+)', path.name)
        if draft and not _runs(int(draft[1])):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write a text file at once; see :func:`write_bytes`."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: object) -> None:
    """Write JSON at once; NaN, which JSON does not have, becomes null."""
    write_text(path, json.dumps(_plain(value), indent=2) + '\n')


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value
