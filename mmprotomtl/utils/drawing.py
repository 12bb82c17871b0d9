"""Text, keys and colour bars for pictures: RGB arrays on white."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

#: Height of a line of text in pixels, and the size of its letters.
LINE, LETTERS = 17, 12
#: Side of the coloured square of a key.
_SQUARE = 11
#: Colours of 0 and 1 in a heat map.
_NONE, _FULL = np.array([255, 255, 255]), np.array([8, 48, 107])
#: Colour of cells and pixels without anything to show.
GRAY = 128


@lru_cache
def _font(bold: bool) -> ImageFont.FreeTypeFont:
    # mmengine needs matplotlib, which brings this font; it has the letters of
    # all European languages, unlike those of OpenCV.
    import matplotlib

    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    folder = Path(matplotlib.get_data_path(), 'fonts', 'ttf')
    return ImageFont.truetype(str(folder / name), LETTERS)


def text_width(words: str, bold: bool = False) -> int:
    """Pixels that a line takes."""
    return int(np.ceil(_font(bold).getlength(words)))


def fitted(words: str, width: int, bold: bool = False) -> str:
    """The words, cut to a width in pixels; cut ones end with an ellipsis."""
    if text_width(words, bold) <= width:
        return words
    while words and text_width(words + '…', bold) > width:
        words = words[:-1]
    return words + '…' if words else ''


def write(
    picture: np.ndarray,
    words: str,
    left: int,
    top: int,
    bold: bool = False,
    colour: tuple[int, int, int] = (0, 0, 0),
) -> None:
    """Write a line into an RGB picture, whose pixels are changed."""
    canvas = Image.fromarray(picture)
    ImageDraw.Draw(canvas).text((left, top), words, colour, _font(bold))
    picture[:] = np.asarray(canvas)


def blank(height: int, width: int, level: int = 255) -> np.ndarray:
    """A picture of one gray, ``height x width x 3`` uint8."""
    return np.full((height, width, 3), level, np.uint8)


def line(words: str, width: int, bold: bool = False) -> np.ndarray:
    """A line of text, ``LINE x width x 3``; words that do not fit are cut."""
    picture = blank(LINE, width)
    write(picture, fitted(words, width - 2, bold), 1, 1, bold)
    return picture


def notice(words: str, height: int, width: int) -> np.ndarray:
    """A gray cell, ``height x width x 3``, with words in its middle."""
    picture = blank(height, width, GRAY)
    words = fitted(words, width - 2)
    if height >= LINE:
        left = (width - text_width(words)) // 2
        write(picture, words, left, (height - LINE) // 2, colour=(255,) * 3)
    return picture


def swatches(
    entries: Sequence[tuple[np.ndarray | Sequence[int], str]], width: int
) -> np.ndarray:
    """A key: squares with their meaning, as many in a line as fit.

    Args:
        entries: RGB colour and words of each.
        width: Of the result in pixels.

    Returns:
        ``H x width x 3``; ``H`` is a multiple of :data:`LINE`.
    """
    places, left, row = [], 1, 0
    for colour, words in entries:
        words = fitted(words, width - _SQUARE - 6)
        needs = _SQUARE + 4 + text_width(words)
        if left > 1 and left + needs > width:
            left, row = 1, row + 1
        places.append((colour, words, left, row * LINE))
        left += needs + 9
    picture = blank(LINE * (row + 1) if places else 0, width)
    for colour, words, left, top in places:
        square = picture[top + 3 : top + 3 + _SQUARE, left : left + _SQUARE]
        # A frame, for the colours that are nearly white.
        square[:] = GRAY
        square[1:-1, 1:-1] = colour
        write(picture, words, left + _SQUARE + 4, top + 1)
    return picture


def bar(colours: np.ndarray, ends: Sequence[str], width: int) -> np.ndarray:
    """A colour bar with words below its two ends.

    Args:
        colours: RGB from left to right, ``N x 3``.
        ends: The words of the left and of the right end.
        width: Of the result in pixels.

    Returns:
        ``H x width x 3``.
    """
    line = np.ascontiguousarray(colours, np.uint8)[None]
    band = cv2.resize(line, (width, 10), interpolation=cv2.INTER_NEAREST)
    picture = np.vstack([blank(3, width), band, blank(LINE, width)])
    low = fitted(ends[0], width - 2)
    high = fitted(ends[1], width - text_width(low) - 8)
    write(picture, low, 1, 13)
    write(picture, high, width - 1 - text_width(high), 13)
    return picture


def heat_map(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
) -> np.ndarray:
    """A matrix as a table of coloured cells with their numbers.

    Args:
        values: ``len(rows) x len(columns)``, 0 .. 1: white to dark blue.
        rows: Name of each row.
        columns: Name of each column.
        title: Above the table.
    """
    widest = max(map(text_width, columns))
    side, margin = (max(64, min(widest + 8, 140)), 34), 8
    left = margin + 6 + max(map(text_width, rows))
    top = margin + 2 * LINE + 4
    width = left + side[0] * len(columns) + margin
    width = max(width, text_width(title, True) + 2 * margin)
    picture = blank(top + side[1] * len(rows) + margin, width)
    write(picture, title, margin, margin, bold=True)
    for place, name in enumerate(columns):
        x = left + place * side[0]
        write(picture, fitted(name, side[0] - 4), x + 2, top - LINE)
    for number, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = top + number * side[1]
        write(picture, name, margin, y + 9)
        for place, value in enumerate(row):
            share = float(np.clip(value, 0, 1))
            x = left + place * side[0]
            shade = (1 - share) * _NONE + share * _FULL
            cell = picture[y : y + side[1] - 1, x : x + side[0] - 1]
            cell[:] = shade.round().astype(np.uint8)
            words = f'{value:.2f}'
            write(
                picture,
                words,
                x + (side[0] - text_width(words)) // 2,
                y + 9,
                colour=(255,) * 3 if share > 0.5 else (0, 0, 0),
            )
    return picture
