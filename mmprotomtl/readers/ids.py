"""Lists of image ids."""

import re
from collections.abc import Callable
from pathlib import Path

from mmprotomtl.utils.errors import DataFileError


def _raise(path: str, problem: str) -> None:
    raise DataFileError(path, problem)


def read_ids(
    path: str, refuse: Callable[[str, str], None] = _raise
) -> list[str]:
    """A list of image ids, one a line.

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
