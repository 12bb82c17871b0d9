"""Cells with captions, laid out on one picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from mmprotomtl.utils.drawing import LINE, blank, line

#: Pixels between blocks and around them, and below a cell.
GAP, SPACE = 10, 3
#: Maps that are narrower are enlarged, by a whole factor.
NARROWEST = 180
#: How wide a cell is at most where no number of columns is given.
WIDEST = 420


@dataclass
class Block:
    """What belongs together: a title, cells below it, and their key.

    Attributes:
        title: The task, or ``photo``.
        cells: Caption and RGB picture of each, from above.
        keys: Functions from a width in pixels to a picture of that width that
            explains colours; drawn below the cells.
    """

    title: str
    cells: list[tuple[str, np.ndarray]] = field(default_factory=list)
    keys: list[Callable[[int], np.ndarray]] = field(default_factory=list)


@dataclass
class Sheet:
    """A picture of blocks.

    Attributes:
        picture: RGB, uint8.
        places: Title of a block and caption of a cell -> its top, left,
            height and width in pixels.
    """

    picture: np.ndarray
    places: dict[tuple[str, str], tuple[int, int, int, int]]


def grid(
    count: int, natural: int, columns: int | None, max_width: int
) -> tuple[int, int]:
    """Choose the number of columns and the width of a cell.

    Args:
        count: Number of blocks.
        natural: Width of a map in pixels.
        columns: Wanted number; None: as many as fit, in lines of about the
            same length.
        max_width: Of the sheet.
    """
    factor = -(-NARROWEST // natural)
    width = natural * factor
    if columns is None:
        width = min(width, WIDEST, max_width - 2 * GAP)
        fit = max((max_width - GAP) // (width + GAP), 1)
        columns = -(-count // -(-count // fit))
        return columns, width
    columns = min(columns, count)
    return columns, min(width, (max_width - GAP) // columns - GAP)


def lay_out(
    blocks: Sequence[Block],
    size: tuple[int, int],
    columns: int | None,
    max_width: int,
) -> Sheet:
    """Put blocks into a grid, from left to right and from above.

    Args:
        blocks: At least one.
        size: Height and width of the maps. Cells have their aspect ratio.
        columns: See :func:`grid`.
        max_width: Of the sheet in pixels.
    """
    columns, width = grid(len(blocks), size[1], columns, max_width)
    height = max(round(size[0] * width / size[1]), 1)
    places: dict[tuple[str, str], tuple[int, int, int, int]] = {}
    lines, top = [], GAP
    for start in range(0, len(blocks), columns):
        some = blocks[start : start + columns]
        drawn = [_drawn(block, height, width) for block in some]
        for number, block in enumerate(some):
            left = GAP + number * (width + GAP)
            above = top + LINE
            for caption, _ in block.cells:
                place = (above + LINE, left, height, width)
                places[block.title, caption] = place
                above += LINE + height + SPACE
        tallest = max(len(picture) for picture in drawn)
        lines.append(_side_by_side(drawn, tallest, width, columns))
        top += tallest + GAP
    empty = blank(GAP, lines[0].shape[1])
    return Sheet(np.vstack([empty, *lines]), places)


def _drawn(block: Block, height: int, width: int) -> np.ndarray:
    """A block from its title to its key."""
    parts = [line(block.title, width, bold=True)]
    for caption, picture in block.cells:
        parts += [
            line(caption, width),
            resized(picture, height, width),
            blank(SPACE, width),
        ]
    return np.vstack(parts + [key(width) for key in block.keys])


def _side_by_side(
    drawn: list[np.ndarray], height: int, width: int, columns: int
) -> np.ndarray:
    """A line of the grid, filled up with white."""
    canvas = blank(height + GAP, GAP + columns * (width + GAP))
    for number, picture in enumerate(drawn):
        left = GAP + number * (width + GAP)
        canvas[: len(picture), left : left + width] = picture
    return canvas


def resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Repeat pixels to enlarge, average them to shrink."""
    if picture.shape[:2] == (height, width):
        return picture
    enlarge = width >= picture.shape[1]
    return cv2.resize(
        np.ascontiguousarray(picture), (width, height),
        interpolation=cv2.INTER_NEAREST if enlarge else cv2.INTER_AREA,
    )  # fmt: skip
