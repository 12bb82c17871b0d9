"""The boundary benchmark of BSDS500: counts of an image, scores of many."""

from collections.abc import Sequence

import numpy as np

from .cover import Cover, matched_with_any, preference
from .match import Matching, candidates
from .thin import thin_levels

COUNTS = 4


def thresholds(number: int) -> np.ndarray:
    """``number`` thresholds, evenly spaced inside (0, 1).

    Rounded as the Matlab program's ``linspace`` does: some of them are equal
    to a level of an 8-bit image but for the last bit.
    """
    return np.linspace(1 / (number + 1), 1 - 1 / (number + 1), number)


def count(
    prob: np.ndarray,
    truths: Sequence[np.ndarray],
    max_dist: float = 0.0075,
    number: int = 99,
) -> np.ndarray:
    """Statistics of a probability map; see :func:`count_maps`.

    Args:
        prob: Probability of a boundary, ``H x W``.
        truths: Each annotator's boundaries, bool ``H x W``.
        max_dist: As for :func:`count_maps`.
        number: Of thresholds.
    """
    levels = np.searchsorted(thresholds(number), prob, side='right')
    return count_maps(thin_levels(levels, number), truths, max_dist)


def count_maps(
    maps: np.ndarray, truths: Sequence[np.ndarray], max_dist: float
) -> np.ndarray:
    """Statistics of an image; those of a data set are their sum.

    Predicted and true pixels are matched one to one, for each threshold and
    each annotator separately: as many pairs as possible and, among such
    matchings, one of least total distance. The counts of a threshold depend
    on its own map only, not on the other maps.

    Args:
        maps: Thinned boundaries at each threshold, bool ``K x H x W``.
        truths: Each annotator's boundaries, bool ``H x W``, as they are.
        max_dist: Greatest distance of a pair as a share of the diagonal.

    Returns:
        int64 ``(K + 1) x 4``: predicted pixels matched with any annotator's,
        predicted pixels, matched true pixels and true pixels, both summed
        over annotators. The last row is that of the image's best threshold.
    """
    reach = max_dist * np.hypot(*maps.shape[1:])
    union = np.asarray(maps.any(0))
    # Pairs of all thresholds are looked up once; a threshold takes its rows.
    # It begins with the pairs of the threshold above it: downwards, pixels
    # come rather than go.
    pairs = [candidates(union, truth, reach) for truth in truths]
    inside = maps[:, union]
    counts = np.zeros((len(maps) + 1, COUNTS), np.int64)
    counts[:-1, 1] = inside.sum(1)
    counts[:-1, 3] = sum(int(truth.sum()) for truth in truths)
    # A pair is a predicted and a true pixel: of one annotator there are as
    # many of the one as of the other, in any matching of greatest size.
    if len(truths) == 1:
        matching = Matching(pairs[0])
    else:
        order = preference(np.flatnonzero(union))
        covers = [Cover(each, order) for each in pairs]
    for k in reversed(range(len(maps))):
        rows = inside[k]
        if k + 1 < len(maps) and np.array_equal(rows, inside[k + 1]):
            counts[k] = counts[k + 1]
        elif len(truths) == 1:
            counts[k, [0, 2]] = matching.update(rows).sum()
        else:
            counts[k, [0, 2]] = matched_with_any(covers, rows)
    score = f_measure(*precision_recall(counts[:-1]))
    best = np.flatnonzero(score == score.max())[-1]
    counts[-1] = counts[best]
    return counts


def precision_recall(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall of ``... x 4`` counts; 0 where there is none."""
    right, guessed, found, true = np.moveaxis(
        np.asarray(counts, np.float64), -1, 0
    )
    return right / np.maximum(guessed, 1), found / np.maximum(true, 1)


def f_measure(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Harmonic mean, 0 where both are 0."""
    whole = precision + recall
    return 2 * precision * recall / np.where(whole > 0, whole, 1)


def scores(total: np.ndarray) -> dict[str, float]:
    """ODS, OIS and AP, each in 0 .. 1, of summed :func:`count_maps`.

    ODS is the best F between neighbouring thresholds, with precision and
    recall interpolated; OIS that of the images' own best thresholds; AP the
    mean precision over recall 0, .01 .. 1, 0 where recall is out of reach.
    NaN without a true pixel.
    """
    if not total[:, 3].any():
        return dict(ODS=np.nan, OIS=np.nan, AP=np.nan)
    precision, recall = precision_recall(total[:-1])
    share = np.linspace(0, 1, 100)[:, None]
    between = [
        value[:-1] * (1 - share) + value[1:] * share
        if len(value) > 1
        else value
        for value in (precision, recall)
    ]
    reached, first = np.unique(recall, return_index=True)
    ap = 0.0
    if len(reached) > 1:
        ap = (
            0.01
            * np.interp(
                np.arange(101) / 100,
                reached,
                precision[first],
                left=0,
                right=0,
            ).sum()
        )
    return dict(
        ODS=float(f_measure(*between).max()),
        OIS=float(f_measure(*precision_recall(total[-1]))),
        AP=float(ap),
    )
