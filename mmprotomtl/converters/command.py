"""What the command lines of converters share."""

import argparse
import sys
from collections.abc import Callable


def parser(text: str, size: str) -> argparse.ArgumentParser:
    """A parser with the arguments that all converters have.

    Args:
        text: Description.
        size: What ``--size`` is by default, for the help.
    """
    made = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        '--size',
        nargs=2,
        type=_positive,
        metavar=('HEIGHT', 'WIDTH'),
        help=f'pixels of the images and labels (default: {size})',
    )
    made.add_argument(
        '--workers',
        type=_positive,
        help='processes (default: one for each core)',
    )
    return made


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r} is no number from 1 on')
    return int(text)


def run(convert: Callable[[], None]) -> None:
    """Convert; what is wrong with the user's files ends in one line."""
    try:
        convert()
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        sys.exit(f'refused: {error}')
