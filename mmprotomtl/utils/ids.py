"""Lists of image ids."""

import re
from pathlib import Path

from .errors import DataFileError


def read_ids(path: str) -> list[str]:
    """A list of image ids, one a line.

    Raises:
        DataFileError: It is missing, empty, or a line is blank, is not one
            plain name, or comes twice; names the line.
    """
    try:
        lines = Path(path).read_text('utf-8').splitlines()
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
        if not re.fullmatch(r'\w[\w.-]*', line):
            what = 'blank' if not line.strip() else f'{line[:60]!r}'
            raise DataFileError(
                path,
                f'line {number} is {what}; expected one id, of letters, '
                'digits and _ - . without blanks',
            )
        if line in first:
            raise DataFileError(
                path,
                f'{line!r} is in lines {first[line]} and {number}; expected '
                'each id once',
            )
        first[line] = number
    if not first:
        raise DataFileError(path, 'no id in it; expected one id a line')
    return list(first)
