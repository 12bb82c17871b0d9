"""Lists of image ids."""

import codecs
import unicodedata
from collections.abc import Callable
from pathlib import Path

from mmprotomtl.utils.errors import DataFileError


def _raise(path: str, problem: str) -> None:
    raise DataFileError(path, problem)


def plain_name(name: str) -> str:
    """A name in Unicode's composed form (NFC).

    macOS stores accents apart from their letters, so that one name can be
    written in two ways.
    """
    return unicodedata.normalize('NFC', name)


def _is_id(line: str) -> bool:
    """Whether it has letters (of any script), digits and ``_ - .`` only."""
    return all(
        sign.isalnum()
        or sign == '_'
        # Vowel signs and accents that have no composed form.
        or (
            place > 0
            and (sign in '-.' or unicodedata.category(sign)[0] == 'M')
        )
        for place, sign in enumerate(line)
    )


def _decode(content: bytes) -> str:
    """Text in UTF-8, or in UTF-16 if a byte-order mark says so."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode('utf-16')
    return content.decode('utf-8-sig')


def read_ids(
    path: str, refuse: Callable[[str, str], None] = _raise
) -> list[str]:
    """A list of image ids, one a line.

    A byte-order mark and the line ends of Windows are allowed; names come in
    Unicode's composed form, see :func:`plain_name`.

    Args:
        path: The list.
        refuse: What is done with a line that is no id, or one for the second
            time: file and problem are its arguments. If it comes back, the
            line is passed over.

    Raises:
        DataFileError: It is missing or empty, or, unless ``refuse`` does
            something else, a line is blank, is not one plain name, or comes
            twice; names the line.
    """
    try:
        lines = plain_name(_decode(Path(path).read_bytes())).splitlines()
    except FileNotFoundError:
        raise DataFileError(
            path, 'no such list of ids; expected one id a line'
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataFileError(
            path, f'cannot be read ({type(error).__name__}: {error})'
        ) from error
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line or not _is_id(line):
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
        raise DataFileError(path, 'no id in it; expected one id a line')
    return list(first)
