"""The BSDS500 boundary benchmark: counts per image, scores per data set."""

from collections.abc import Sequence

import numpy as np

from .cover import Cover, matched_with_any, preference
from .match import Matching, candidates
from .thin import thin_levels

COUNTS = 4


def thresholds(number: int) -> np.ndarray:
    """Return ``number`` thresholds, evenly spaced inside (0, 1).

    They are rounded like ``linspace`` of the official Matlab program. This
    matters because some thresholds differ from a grey level of an 8-bit image
    in the last bit only.
    """
    return np.linspace(1 / (number + 1), 1 - 1 / (number + 1), number)


def count(
    prob: np.ndarray,
    truths: Sequence[np.ndarray],
    max_dist: float = 0.0075,
    number: int = 99,
) -> np.ndarray:
    """Count matched boundary pixels of a probability map.

    The map is thinned at every threshold and passed to :func:`count_maps`.

    Args:
        prob: Probability of a boundary, ``H x W``.
        truths: Each annotator's boundaries, bool ``H x W``.
        max_dist: See :func:`count_maps`.
        number: Number of thresholds, K.

    Returns:
        int64 ``(K + 1) x 4``, see :func:`count_maps`.
    """
    levels = np.searchsorted(thresholds(number), prob, side='right')
    return count_maps(thin_levels(levels, number), truths, max_dist)


def count_maps(
    maps: np.ndarray, truths: Sequence[np.ndarray], max_dist: float
) -> np.ndarray:
    """Count matched boundary pixels of one image at every threshold.

    The counts of a data set are the sum over its images.

    Predicted and true pixels are matched one to one, for each threshold and
    each annotator separately: a matching of maximum size and, among those,
    one of minimum total distance. The counts at a threshold depend on the map
    of that threshold only, not on the other maps.

    Args:
        maps: Thinned predicted boundaries at each threshold, bool
            ``K x H x W``.
        truths: Each annotator's boundaries, bool ``H x W``, not thinned.
        max_dist: Maximum distance of a pair, as a fraction of the image's
            diagonal.

    Returns:
        int64 ``(K + 1) x 4``. The columns are (1) predicted pixels that are
        matched with at least one annotator, (2) predicted pixels, (3) matched
        true pixels and (4) true pixels; 3 and 4 are summed over annotators.
        The last row repeats the row of the image's best threshold.
    """
    reach = max_dist * np.hypot(*maps.shape[1:])
    union = np.asarray(maps.any(0))
    # Candidate pairs are computed once for all thresholds; each threshold
    # uses its own rows. Thresholds are visited from high to low, because then
    # most pixels of the last threshold are still there and the matching can
    # be extended instead of computed anew.
    pairs = [candidates(union, truth, reach) for truth in truths]
    inside = maps[:, union]
    counts = np.zeros((len(maps) + 1, COUNTS), np.int64)
    counts[:-1, 1] = inside.sum(1)
    counts[:-1, 3] = sum(int(truth.sum()) for truth in truths)
    # With one annotator the number of matched predicted pixels equals the
    # number of matched true pixels, so any maximum matching is sufficient.
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
    """Return precision and recall of counts ``... x 4``, each ``...``.

    They are 0 where the denominator is 0.
    """
    right, guessed, found, true = np.moveaxis(
        np.asarray(counts, np.float64), -1, 0
    )
    return right / np.maximum(guessed, 1), found / np.maximum(true, 1)


def f_measure(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Return the harmonic mean of precision and recall, 0 if both are 0."""
    whole = precision + recall
    return 2 * precision * recall / np.where(whole > 0, whole, 1)


def scores(total: np.ndarray) -> dict[str, float]:
    """Compute ODS, OIS and AP from the summed counts of all images.

    Args:
        total: Sum of the results of :func:`count_maps`, ``(K + 1) x 4``.

    Returns:
        Three values in 0 .. 1, or NaN if there is no true pixel. ``ODS`` is
        the best F-measure over one threshold for all images; precision and
        recall are interpolated between neighbouring thresholds. ``OIS`` is
        the F-measure with the best threshold of each image. ``AP`` is the
        mean precision at recall 0, .01 .. 1; a recall that no threshold
        reaches counts as precision 0.
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
