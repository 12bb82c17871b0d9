"""Errors that name what is wrong with a user's files and settings."""

from collections.abc import Iterable


class DataFileError(ValueError):
    """A file of a data set cannot be used.

    Args:
        path: The file.
        problem: What is wrong with it, and what was expected.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f'{self.path}: {self.problem}'


def check_choice(key: str, given: object, allowed: Iterable[object]) -> None:
    """Check that a setting has an allowed value.

    Args:
        key: Name of the setting, for the error message.
        given: The value.
        allowed: All allowed values.

    Raises:
        ValueError: ``given`` is not in ``allowed``.
    """
    allowed = tuple(allowed)
    if given not in allowed:
        options = ', '.join(repr(option) for option in allowed)
        raise ValueError(f'{key}={given!r} is not allowed: choose {options}')
