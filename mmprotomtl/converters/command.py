"""Shared parts of the converters' command lines."""

import argparse
import sys
from collections.abc import Callable


def parser(text: str, size: str) -> argparse.ArgumentParser:
    """Make a parser with the arguments that all converters have.

    Args:
        text: Description of the command.
        size: Description of the default of ``--size``, for the help text.
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
        raise argparse.ArgumentTypeError(f'{text!r} is not an integer >= 1')
    return int(text)


def run(convert: Callable[[], None]) -> None:
    """Run a conversion; report errors in the user's files in one line."""
    try:
        convert()
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        sys.exit(f'refused: {error}')
