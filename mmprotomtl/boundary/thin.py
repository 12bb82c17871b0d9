"""Thinning of many binary maps at once."""

import numpy as np

WORD = 64


def thin_levels(levels: np.ndarray, number: int) -> np.ndarray:
    """Thin nested binary maps to lines one pixel wide.

    Map ``k`` holds the pixels whose level is above ``k``. Each is thinned
    until nothing changes, by the two alternating steps of Guo and Hall as
    given by Lam, Lee and Suen, "Thinning methodologies" (PAMI 1992): the rule
    of Matlab's ``bwmorph(map, 'thin', Inf)``. A pixel holds 64 maps as the
    bits of one word, so that one pass thins them all.

    Args:
        levels: In how many of the maps a pixel is, integer ``H x W``.
        number: Number of maps.

    Returns:
        Bool ``number x H x W``.
    """
    height, width = levels.shape
    result = np.zeros((number, height, width), bool)
    for start in range(0, number, WORD):
        size = min(WORD, number - start)
        words = np.zeros((height + 2, width + 2), np.uint64)
        count = np.clip(levels.astype(np.int64) - start, 0, size)
        # The lowest `count` bits; a shift by 64 is not defined.
        full = np.uint64(2**64 - 1)
        shift = np.minimum(WORD - count, WORD - 1).astype(np.uint64)
        words[1:-1, 1:-1] = np.where(count > 0, full >> shift, 0)
        _thin_words(words)
        for k in range(size):
            bit = np.uint64(1) << np.uint64(k)
            result[start + k] = words[1:-1, 1:-1] & bit != 0
    return result


def thin(mask: np.ndarray) -> np.ndarray:
    """Thin one binary map, bool ``H x W``; see :func:`thin_levels`."""
    return thin_levels(mask.astype(np.int64), 1)[0]


def _thin_words(words: np.ndarray) -> None:
    """Thin in place; the border of ``words`` is 0."""
    flat = words.reshape(-1)
    step = words.shape[1]
    # Counter-clockwise from east: x1 .. x8.
    around = np.array(
        [1, 1 - step, -step, -1 - step, -1, step - 1, step, step + 1]
    )
    active = np.flatnonzero(flat)
    touched = np.zeros(flat.shape, bool)
    previous = active
    turn = 0
    while True:
        old = flat[active]
        x = flat[active + around[:, None]]
        gone = old & _removable(x, turn)
        hit = np.flatnonzero(gone)
        changed = active[hit]
        flat[changed] = old[hit] & ~gone[hit]
        if not changed.size and not previous.size:
            return
        # Only where a neighbour, or the pixel itself, changed in one of the
        # last two steps can the next step find something new.
        touched[:] = False
        for part in (changed, previous):
            touched[part] = True
            for offset in around:
                touched[part + offset] = True
        active = np.flatnonzero(touched & (flat != 0))
        previous, turn = changed, 1 - turn


def _removable(x: np.ndarray, turn: int) -> np.ndarray:
    """In which maps a pixel may go, by its 8 neighbours ``x``."""
    x1, x2, x3, x4, x5, x6, x7, x8 = x
    # G1: one crossing from background to foreground around the pixel.
    crossings = (
        ~x1 & (x2 | x3),
        ~x3 & (x4 | x5),
        ~x5 & (x6 | x7),
        ~x7 & (x8 | x1),
    )
    any_, two, _ = _count(*crossings)
    result = any_ & ~two
    # G2: the smaller number of neighbouring pairs is 2 or 3.
    _, two, four = _count(x1 | x2, x3 | x4, x5 | x6, x7 | x8)
    _, two_, four_ = _count(x2 | x3, x4 | x5, x6 | x7, x8 | x1)
    result &= two & two_ & ~(four & four_)
    # G3: from the one side, then from the other.
    if turn == 0:
        return result & ~((x2 | x3 | ~x8) & x1)
    return result & ~((x6 | x7 | ~x4) & x5)


def _count(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether at least one, at least two and all four bits are set."""
    either, other = a | b, c | d
    both, both_ = a & b, c & d
    return either | other, both | both_ | (either & other), both & both_
