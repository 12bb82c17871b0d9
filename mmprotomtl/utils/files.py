"""Reading of regular files, atomic writing, and names of output files."""

import errno
import hashlib
import io
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .errors import DataFileError

#: Longest name of an output file in bytes. File systems allow 255, of which
#: endings and the temporary name take a part.
MAX_NAME = 200
#: File in a converted data set that records source and settings.
RECORD = 'conversion.json'


def check_regular(path: str | Path) -> int:
    """Check that a path is a file of bytes, and return its size.

    To read a pipe, a socket or a device may never end.

    Raises:
        DataFileError: It is a pipe, a device, a folder or the like.
        OSError: It does not exist, or cannot be looked at.
    """
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):
        kind = (
            'a folder' if stat.S_ISDIR(state.st_mode) else 'a pipe or device'
        )
        raise DataFileError(str(path), f'{kind}, not a regular file')
    return state.st_size


def read_bytes(path: str | Path, limit: int) -> bytes:
    """Read a regular file.

    Args:
        path: The file.
        limit: Largest size in bytes.

    Raises:
        DataFileError: See :func:`check_regular`; or the file is larger.
        OSError: It does not exist, or cannot be read.
    """
    size = check_regular(path)
    if size > limit:
        raise DataFileError(
            str(path), f'{size} bytes; more than {limit} are not read'
        )
    return Path(path).read_bytes()


def make_output_folder(folder: str | Path, setting: str) -> None:
    """Make a folder for output, and try whether files can be written to it,
    before any work is done for them.

    Args:
        folder: The folder.
        setting: What names it, for the error message.

    Raises:
        OSError: They cannot be written; the message names folder and setting.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise OSError(
            error.errno,
            f'{error.strerror}: nothing can be written there; give another '
            f'folder by {setting}',
            str(folder),
        ) from error


def output_path(folder: str | Path, name: str, ending: str = '') -> Path:
    """Return the path of an output file that is named after a sample.

    Args:
        folder: The output folder.
        name: The sample's id; may have folders, as ``aachen/0001``.
        ending: Added to the name.

    Returns:
        A path below ``folder``. Parts of ``name`` longer than
        :data:`MAX_NAME` bytes are cut, and end with a hash of the whole.

    Raises:
        ValueError: The path would lead outside of ``folder``, or ``name`` has
            a character that no file name can have.
    """
    parts = str(name).split('/')
    wrong = any(part in ('', '.', '..') for part in parts)
    # On Windows, these two begin a folder and a drive.
    signs = '\\:' if os.name == 'nt' else ''
    if wrong or any(sign < ' ' or sign in signs for sign in str(name)):
        raise ValueError(
            f'the sample id {str(name)[:80]!r} cannot name a file in '
            f'{folder}: allowed are names and folders without "..", ".", '
            'a leading "/" and control characters'
        )
    parts[-1] += ending
    return Path(folder, *(_short(part) for part in parts))


def _short(name: str) -> str:
    """Return a name that file systems allow."""
    raw = name.encode(errors='surrogateescape')
    if len(raw) <= MAX_NAME:
        return name
    ending = Path(name).suffix
    if len(ending) > 10:
        ending = ''
    kept = name.removesuffix(ending).encode(errors='surrogateescape')
    start = kept[: MAX_NAME - 40].decode(errors='ignore')
    return f'{start}-{hashlib.sha256(raw).hexdigest()[:16]}{ending}'


def write_file(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file atomically by a function.

    Args:
        path: The file.
        write: Writes the content to a buffer, as ``np.save`` does.

    Raises:
        OSError: See :func:`write_bytes`.
    """
    buffer = io.BytesIO()
    write(buffer)
    write_bytes(path, buffer.getvalue())


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
    # The name of the file may already be as long as the file system allows.
    draft = path.with_name(f'.{_short(path.name)}.{os.getpid()}')
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
