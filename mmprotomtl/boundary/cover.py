"""Find the predicted pixels in the matchings of minimum total distance.

For each annotator, the benchmark takes a matching of maximum size and, among
those, one of minimum total distance. A predicted pixel is correct if it is
matched with at least one annotator. So with several annotators it matters
which predicted pixels a matching contains, not only how many.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import (
    connected_components,
    min_weight_full_bipartite_matching,
)

from .match import Matching

#: 2 ** 64 divided by the golden ratio (Fibonacci hashing): the multiples of
#: this number modulo 2 ** 64 are spread evenly.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
#: Cost matrices with up to this many entries are solved faster as dense
#: matrices than as sparse graphs.
_DENSE = 2**15
#: Integers up to this value are exact in float64.
_EXACT = 2**53


def preference(place: np.ndarray) -> np.ndarray:
    """Rank predicted pixels, to break ties between matchings of equal cost.

    The order is arbitrary but fixed: it depends on a pixel's position in the
    image only, and gives neighbours very different ranks.

    Args:
        place: Flat index of each pixel (row * width + column), all different.

    Returns:
        The rank of each pixel, int64; the pixel of rank 0 is preferred most.
    """
    rank = np.empty(len(place), np.int64)
    rank[np.argsort(place.astype(np.uint64) * _SPREAD)] = np.arange(len(place))
    return rank


class Group(NamedTuple):
    """A connected component of the contested candidate pairs.

    Pairs are those of one annotator, see
    :meth:`~mmprotomtl.boundary.match.Matching.contested`.
    """

    rows: np.ndarray
    """The component's predicted pixels, in ascending order."""
    size: int
    """The number of its true pixels."""
    row: np.ndarray
    """The predicted pixel of each pair, its place in :attr:`rows`."""
    column: np.ndarray
    """The true pixel of each pair, 0 .. size - 1."""
    cost: np.ndarray
    """The cost of each pair, a positive integer."""


class Cover:
    """The matched predicted pixels of one annotator.

    It is updated for one set of predicted pixels (one threshold) after the
    other. The matched pixels are those of the matching of maximum size that
    has, first, the minimum total cost and, second, the minimum sum of ranks
    of its predicted pixels. There may be several such matchings, but all of
    them contain the same predicted pixels: these form the minimum-weight basis
    of a matroid whose elements have distinct weights. So the result depends
    neither on the earlier sets nor on how the problem is split.

    Args:
        pairs: Result of :func:`~mmprotomtl.boundary.match.candidates`.
        rank: Rank of each predicted pixel, all different; see
            :func:`preference`.
    """

    def __init__(self, pairs: csr_matrix, rank: np.ndarray) -> None:
        self._matching = Matching(pairs)
        self._rank = rank
        self._shape = pairs.shape
        #: Predicted pixels that every maximum matching of the current set
        #: contains, bool.
        self.certain = np.zeros(pairs.shape[0], bool)
        #: Unsolved groups of the current set, by key.
        self.groups: dict[bytes, Group] = {}
        #: Matched predicted pixels of the solved groups of the current set,
        #: by key.
        self.solved: dict[bytes, np.ndarray] = {}

    def update(self, active: np.ndarray) -> int:
        """Match the predicted pixels that are ``active``.

        Groups that were already solved for the previous set stay solved: the
        predicted pixels of a group determine its pairs.

        Args:
            active: Bool, one value per predicted pixel.

        Returns:
            The number of matched pairs.
        """
        matched = self._matching.update(active)
        pred, true, cost = self._matching.contested()
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
        """Solve the group with this key; return its matched predicted pixels.

        Args:
            key: A key of :attr:`groups`.
        """
        held = least_cost(self.groups[key], self._rank)
        self.solved[key] = held
        return held


def matched_with_any(
    covers: Sequence[Cover], active: np.ndarray
) -> tuple[int, int]:
    """Match predicted pixels with the true pixels of several annotators.

    Args:
        covers: One cover per annotator.
        active: Whether each candidate pixel is predicted, bool.

    Returns:
        The number of predicted pixels that are matched with at least one
        annotator, and the number of pairs summed over annotators.
    """
    found = sum(cover.update(active) for cover in covers)
    held = np.zeros(len(active), bool)
    for cover in covers:
        held |= cover.certain
        for rows in cover.solved.values():
            held[rows] = True
    for cover in covers:
        for key, group in cover.groups.items():
            # A group need not be solved if all its pixels are matched anyway.
            if not held[group.rows].all():
                held[cover.solve(key)] = True
    return int(held.sum()), found


def split(
    pred: np.ndarray,
    true: np.ndarray,
    cost: np.ndarray,
    shape: tuple[Any, ...],
) -> list[Group]:
    """Split pairs into connected components.

    Args:
        pred: The predicted pixel of each pair.
        true: The true pixel of each pair.
        cost: The cost of each pair.
        shape: Total number of predicted and of true pixels.
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
    of_rows, of_columns = label[: len(rows)], label[len(rows) :]
    (by_row, row_ends, in_rows), (_, column_ends, in_columns) = (
        _grouped(of, number) for of in (of_rows, of_columns)
    )
    by_pair, pair_ends, _ = _grouped(of_rows[row], number)
    rows, row, column, cost = (
        rows[by_row],
        in_rows[row[by_pair]],
        in_columns[column[by_pair]],
        cost[by_pair],
    )
    groups = []
    for k in range(number):
        own = slice(row_ends[k], row_ends[k + 1])
        pairs = slice(pair_ends[k], pair_ends[k + 1])
        size = int(column_ends[k + 1] - column_ends[k])
        groups.append(
            Group(rows[own], size, row[pairs], column[pairs], cost[pairs])
        )
    return groups


def _grouped(
    label: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort elements by their group, keeping their order within a group.

    Args:
        label: The group of each element, 0 .. number - 1.
        number: How many groups there are.

    Returns:
        The elements in their new order; where each group begins there, and
        where the last one ends; the place of each element in its group.
    """
    order = np.argsort(label, kind='stable')
    ends = np.zeros(number + 1, np.intp)
    ends[1:] = np.bincount(label, minlength=number).cumsum()
    place = np.empty(len(label), np.intp)
    place[order] = np.arange(len(label)) - ends[label[order]]
    return order, ends, place


def least_cost(group: Group, rank: np.ndarray) -> np.ndarray:
    """Return the predicted pixels of a group's best matching.

    The matching covers all true pixels of the group. It has minimum cost and,
    among those of minimum cost, the minimum sum of ranks.

    Cost and rank are combined into one integer in which one unit of cost
    outweighs any sum of ranks. If this would not fit into a float64 (groups of
    many ten thousand pixels), pixels of neighbouring ranks share one rank.

    Args:
        group: The group.
        rank: Rank of every predicted pixel, see :func:`preference`.
    """
    pairs, size = group.size, len(group.rows)
    room = _EXACT // (pairs * (int(group.cost.max()) + 1))
    ranks = max(min(size, room // pairs), 1)
    order = np.empty(size, np.int64)
    order[np.argsort(rank[group.rows])] = np.arange(size) * ranks // size
    weight = group.cost.astype(np.float64) * (pairs * ranks) + order[group.row]
    if pairs * size <= _DENSE:
        dense = np.full((pairs, size), np.inf)
        dense[group.column, group.row] = weight
        return group.rows[linear_sum_assignment(dense)[1]]
    graph = csr_matrix((weight, (group.column, group.row)), (pairs, size))
    return group.rows[min_weight_full_bipartite_matching(graph)[1]]


def _places(index: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Like ``np.unique`` with ``return_inverse``, for integers below ``size``.

    Returns:
        The sorted distinct values of ``index``, and the position of each
        element of ``index`` among them.
    """
    values = np.flatnonzero(np.bincount(index, minlength=size))
    place = np.empty(size, np.int64)
    place[values] = np.arange(len(values))
    return values, place[index]
