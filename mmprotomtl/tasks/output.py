"""What the values of a prediction are, for those who use it."""

from typing import NamedTuple


class OutputInfo(NamedTuple):
    """The meaning of a task's prediction ``P x H x W``.

    Attributes:
        unit: What one value is: ``metres``, ``probability``, ...
        classes: Names of the classes, by number; empty: the values are no
            classes.
        palette: RGB colours of the classes, 0 .. 255; empty: there are none.
        value_range: Smallest and largest value that the data set of the
            weights has, or that there can be; None: not known.
    """

    unit: str = ''
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    value_range: tuple[float, float] | None = None
