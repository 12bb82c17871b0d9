"""Predicted pixels in the matchings of least total distance.

The benchmark matches each annotator's pixels with as many predicted ones as
possible and, among such matchings, with least total distance. A predicted
pixel is right if it is in a pair of any annotator, so with several annotators
it matters which predicted pixels the matchings hold.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import (
    connected_components,
    min_weight_full_bipartite_matching,
)

from .match import Matching

#: 2 ** 64 over the golden ratio: its multiples are spread evenly.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
#: Tables of up to this size are solved faster than sparse graphs are.
_DENSE = 2**15
#: Whole numbers up to here are exact in a double.
_EXACT = 2**53


def preference(place: np.ndarray) -> np.ndarray:
    """Which predicted pixels win between matchings of equal distance.

    The order is arbitrary but fixed: it depends on a pixel's place in the
    image only, and scatters neighbours.

    Args:
        place: Row times width plus column of each pixel, all different.

    Returns:
        The rank of each pixel, 0 for the one that is taken first.
    """
    rank = np.empty(len(place), np.int64)
    rank[np.argsort(place.astype(np.uint64) * _SPREAD)] = np.arange(len(place))
    return rank


class Group(NamedTuple):
    """A connected component of the contested pairs of one annotator."""

    rows: np.ndarray
    """Its predicted pixels, ascending."""
    pred: np.ndarray
    """Of each pair the predicted pixel."""
    true: np.ndarray
    """Of each pair the true pixel."""
    cost: np.ndarray
    """Of each pair the cost, a whole number above 0."""


class Cover:
    """Predicted pixels in one annotator's matching, for one set of predicted
    pixels after the other.

    The pixels are those of the matching of greatest size that has, first, the
    least total cost and, second, the least sum of ranks of its predicted
    pixels. There may be several such matchings; they hold the same predicted
    pixels, as these form the lightest basis of a matroid whose elements have
    different weights. So the pixels depend neither on the sets before nor on
    how the problem is split.

    Args:
        pairs: As :func:`~mmprotomtl.boundary.match.candidates` gives it.
        rank: Of each predicted pixel, all different.
    """

    def __init__(self, pairs: csr_matrix, rank: np.ndarray) -> None:
        self._matching = Matching(pairs)
        self._rank = rank
        self._shape = pairs.shape
        #: Predicted pixels of the last set that every maximum matching holds.
        self.certain = np.zeros(pairs.shape[0], bool)
        #: Groups of the last set that have not been solved, by their key.
        self.groups: dict[bytes, Group] = {}
        #: What solved groups of the last set hold, by the groups' key.
        self.solved: dict[bytes, np.ndarray] = {}

    def update(self, active: np.ndarray) -> int:
        """Match the predicted pixels that are ``active``; the number of pairs.

        Groups that are also groups of the set before stay solved: a group's
        predicted pixels determine its pairs.
        """
        matched = self._matching.update(active)
        pred, true, cost = self._matching.contested(active)
        self.certain = matched.copy()
        self.certain[pred] = False
        before, self.solved, self.groups = self.solved, {}, {}
        for group in split(pred, true, cost, self._shape):
            key = group.rows.tobytes()
            if key in before:
                self.solved[key] = before[key]
            else:
                self.groups[key] = group
        return int(matched.sum())

    def solve(self, key: bytes) -> np.ndarray:
        """The predicted pixels that an unsolved group's matching holds."""
        held = least_cost(self.groups[key], self._rank)
        self.solved[key] = held
        return held


def matched_with_any(
    covers: Sequence[Cover], active: np.ndarray
) -> tuple[int, int]:
    """Match predicted pixels with several annotators' true ones.

    Args:
        covers: One for each annotator.
        active: Which predicted pixels there are, bool.

    Returns:
        How many predicted pixels are in a pair of any annotator; the number
        of pairs of all annotators.
    """
    found = sum(cover.update(active) for cover in covers)
    held = np.zeros(len(active), bool)
    for cover in covers:
        held |= cover.certain
        for rows in cover.solved.values():
            held[rows] = True
    for cover in covers:
        for key, group in cover.groups.items():
            # A group whose pixels are all in other pairs changes nothing.
            if not held[group.rows].all():
                held[cover.solve(key)] = True
    return int(held.sum()), found


def split(
    pred: np.ndarray,
    true: np.ndarray,
    cost: np.ndarray,
    shape: tuple[Any, ...],
) -> list[Group]:
    """The connected components of some pairs.

    Args:
        pred: Of each pair the predicted pixel.
        true: Of each pair the true pixel.
        cost: Of each pair the cost.
        shape: Number of all predicted and of all true pixels.
    """
    if not pred.size:
        return []
    rows, row = _places(pred, shape[0])
    columns, column = _places(true, shape[1])
    size = len(rows) + len(columns)
    graph = csr_matrix(
        (np.ones(len(row), np.int8), (row, len(rows) + column)), (size, size)
    )
    number, label = connected_components(graph, directed=False)

    def parts(of: np.ndarray, *values: np.ndarray) -> Iterator[Any]:
        order = np.argsort(of, kind='stable')
        ends = np.bincount(of, minlength=number).cumsum()[:-1]
        return zip(*(np.split(v[order], ends) for v in values), strict=True)

    return [
        Group(*own, *others)
        for own, others in zip(
            parts(label[: len(rows)], rows),
            parts(label[row], pred, true, cost),
            strict=True,
        )
    ]


def least_cost(group: Group, rank: np.ndarray) -> np.ndarray:
    """The predicted pixels that a group's matching of all its true pixels
    holds: of least cost and, among those, of least sum of ranks.

    Cost and rank become one whole number, in which a unit of cost outweighs
    any ranks. Should it be too large for a double (a group with many ten
    thousand pixels), some pixels that follow each other share a rank.
    """
    row = np.searchsorted(group.rows, group.pred)
    columns, column = np.unique(group.true, return_inverse=True)
    pairs, size = len(columns), len(group.rows)
    room = _EXACT // (pairs * (int(group.cost.max()) + 1))
    ranks = max(min(size, room // pairs), 1)
    order = np.empty(size, np.int64)
    order[np.argsort(rank[group.rows])] = np.arange(size) * ranks // size
    weight = group.cost.astype(np.float64) * (pairs * ranks) + order[row]
    if pairs * size <= _DENSE:
        dense = np.full((pairs, size), np.inf)
        dense[column, row] = weight
        return group.rows[linear_sum_assignment(dense)[1]]
    graph = csr_matrix((weight, (column, row)), (pairs, size))
    return group.rows[min_weight_full_bipartite_matching(graph)[1]]


def _places(index: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The different values of ``index``, ascending, and each one's place."""
    values = np.flatnonzero(np.bincount(index, minlength=size))
    place = np.empty(size, np.int64)
    place[values] = np.arange(len(values))
    return values, place[index]
