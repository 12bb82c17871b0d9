"""Thinning of many nested binary maps in one pass."""

import numpy as np

#: Number of maps that are thinned together, one per bit of a uint64.
WORD = 64


def thin_levels(levels: np.ndarray, number: int) -> np.ndarray:
    """Thin nested binary maps to lines one pixel wide.

    Map ``k`` contains the pixels whose level is above ``k``. Each map is
    thinned until nothing changes, by the two alternating steps of Guo and Hall
    as given by Lam, Lee and Suen, "Thinning methodologies" (PAMI 1992). This
    is the rule of Matlab's ``bwmorph(map, 'thin', Inf)``. For speed, 64 maps
    are stored as the bits of one integer per pixel and thinned together.

    Args:
        levels: Number of maps that contain each pixel, integer ``H x W``.
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
    """Thin one binary map ``H x W``, see :func:`thin_levels`.

    Returns:
        Bool ``H x W``.
    """
    return thin_levels(mask.astype(np.int64), 1)[0]


def _thin_words(words: np.ndarray) -> None:
    """Thin in place; ``words`` must have a border of zeros."""
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
        # A pixel can only be removed in the next step if it or one of its
        # neighbours changed in one of the last two steps.
        touched[:] = False
        for part in (changed, previous):
            touched[part] = True
            for offset in around:
                touched[part + offset] = True
        active = np.flatnonzero(touched & (flat != 0))
        previous, turn = changed, 1 - turn


def _removable(x: np.ndarray, turn: int) -> np.ndarray:
    """Return the bits (maps) in which a pixel with neighbours x is removed."""
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
    # G3: the two alternating steps remove pixels from opposite sides.
    if turn == 0:
        return result & ~((x2 | x3 | ~x8) & x1)
    return result & ~((x6 | x7 | ~x4) & x5)


def _count(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, bitwise, whether at least one, at least two, all four are 1."""
    either, other = a | b, c | d
    both, both_ = a & b, c & d
    return either | other, both | both_ | (either & other), both & both_
