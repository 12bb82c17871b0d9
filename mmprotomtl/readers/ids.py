"""Lists of image ids."""

import codecs
import unicodedata
from collections.abc import Callable

from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.files import read_bytes

#: Largest list that is read in bytes, and longest id in it in letters.
MAX_BYTES, MAX_LETTERS = 2**27, 1000


def _raise(path: str, problem: str) -> None:
    raise DataFileError(path, problem)


def plain_name(name: str) -> str:
    """Convert a name to Unicode's composed form (NFC).

    macOS stores letters and accents separately (NFD). Without this, the same
    name in a list and on disk could be different strings.
    """
    return unicodedata.normalize('NFC', name)


def _is_id(line: str) -> bool:
    """Whether a line is a valid id: letters of any script, digits, _ - ."""
    return all(
        sign.isalnum()
        or sign == '_'
        # Vowel signs, and accents that have no composed form.
        or (
            place > 0
            and (sign in '-.' or unicodedata.category(sign)[0] == 'M')
        )
        for place, sign in enumerate(line)
    )


def _decode(content: bytes) -> str:
    """Decode UTF-8, or UTF-16 if there is a byte-order mark of it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode('utf-16')
    return content.decode('utf-8-sig')


def read_ids(
    path: str, refuse: Callable[[str, str], None] = _raise
) -> list[str]:
    """Read a list of image ids, one per line.

    A byte-order mark and Windows line ends are allowed. Ids are converted to
    Unicode's composed form, see :func:`plain_name`.

    Args:
        path: The list.
        refuse: Function that is called with path and problem for a line that
            is not a valid id or is repeated. If it returns, the line is
            skipped. Default: raise DataFileError.

    Raises:
        DataFileError: The file is missing or has no id; or, by default, a line
            is blank, invalid or repeated. The message has the line number.
    """
    try:
        lines = _decode(read_bytes(path, MAX_BYTES)).splitlines()
    except FileNotFoundError:
        raise DataFileError(
            path, 'no such list of ids; expected one id per line'
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataFileError(
            path, f'cannot be read ({type(error).__name__}: {error})'
        ) from error
    first: dict[str, int] = {}
    for number, raw in enumerate(lines, 1):
        # To compose a long line of accents takes time of the square of its
        # length.
        line = plain_name(raw) if len(raw) <= MAX_LETTERS else raw
        if len(raw) > MAX_LETTERS:
            refuse(
                path,
                f'line {number} has {len(raw)} letters; an id has up to '
                f'{MAX_LETTERS}',
            )
        elif not line or not _is_id(line):
            what = 'blank' if not line.strip() else f'{line[:60]!r}'
            refuse(
                path,
                f'line {number} is {what}; expected one id, of letters, '
                'digits and _ - . without blanks',
            )
        elif line in first:
            refuse(
                path,
                f'{line!r} is in lines {first[line]} and {number}; expected '
                'each id once',
            )
        else:
            first[line] = number
    if not first:
        raise DataFileError(path, 'no id in it; expected one id per line')
    return list(first)
