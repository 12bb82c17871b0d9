"""One-to-one matching of boundary pixels."""

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow


def candidates(
    pred: np.ndarray, truth: np.ndarray, reach: float
) -> csr_matrix:
    """Which true pixels each predicted one may be matched with.

    Args:
        pred: Predicted pixels, bool ``H x W``.
        truth: True pixels, bool ``H x W``.
        reach: Greatest distance of a pair, in pixels.

    Returns:
        Predicted x true pixels, both in the order of ``np.nonzero``; in a row
        the nearest come first. The value of a pair is its distance, rounded
        to hundredths of a pixel as the benchmark does, plus 1 (a stored 0
        would be no pair for SciPy).
    """
    radius = int(reach)
    height, width = truth.shape
    index = np.full((height + 2 * radius, width + 2 * radius), -1, np.int32)
    columns = int(truth.sum())
    inner = index[radius : radius + height, radius : radius + width]
    inner[truth] = np.arange(columns)
    offset = np.arange(-radius, radius + 1)
    dy, dx = (d.ravel() for d in np.meshgrid(offset, offset, indexing='ij'))
    distance = dy**2 + dx**2
    near = np.argsort(distance, kind='stable')
    near = near[: np.count_nonzero(distance <= reach**2)]
    cost = 1 + np.rint(100 * np.sqrt(distance[near])).astype(np.int32)
    step = (dy[near] + radius) * index.shape[1] + dx[near] + radius
    y, x = np.nonzero(pred)
    found = index.ravel()[(y * index.shape[1] + x)[:, None] + step]
    hit = found >= 0
    indptr = np.concatenate([[0], hit.sum(1).cumsum()])
    indices = found[hit]
    return csr_matrix(
        (np.broadcast_to(cost, hit.shape)[hit], indices, indptr),
        (len(y), columns),
    )


class Matching:
    """As many pairs as possible, no pixel in two of them, for one set of
    predicted pixels after the other.

    Neighbouring thresholds share most of their pixels. The pairs of the last
    set whose pixels are still there are kept, new pixels take the nearest free
    partner, and what can still be improved goes to SciPy: the flow of greatest
    value (Dinic) through the network that these pairs leave, from unpaired
    predicted pixels over pairs that change hands to unpaired true ones. The
    number of pairs is the greatest there is, whatever the start; which of
    several such matchings it is depends on the start. For the pixels of the
    one of least total distance see :mod:`mmprotomtl.boundary.cover`.

    Args:
        pairs: As :func:`candidates` gives it.
    """

    def __init__(self, pairs: csr_matrix) -> None:
        self._indptr = pairs.indptr
        self._indices = pairs.indices
        self._cost = pairs.data
        self._degree = np.diff(pairs.indptr)
        #: Of each predicted pixel its true one, and the other way; -1: none.
        self.partner = np.full(pairs.shape[0], -1)
        self.mate = np.full(pairs.shape[1], -1)
        #: What :meth:`contested` looks for, where it is known already.
        self._stuck: tuple[np.ndarray, np.ndarray] | None = None

    def update(self, active: np.ndarray) -> np.ndarray:
        """Match the predicted pixels that are ``active``.

        Args:
            active: Bool, one for each row of the pairs.

        Returns:
            Which predicted pixels are in a pair, bool.
        """
        self._stuck = None
        gone = np.flatnonzero(~active & (self.partner >= 0))
        self.mate[self.partner[gone]] = -1
        self.partner[gone] = -1
        rows = np.flatnonzero(active & (self.partner < 0) & (self._degree > 0))
        rows = self._take_free(rows)
        if rows.size:
            self._augment(rows)
        return self.partner >= 0

    def contested(
        self, active: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The part in which maximum matchings differ in predicted pixels.

        It holds the predicted pixels that some maximum matching leaves
        unpaired (they have candidates, and alternating paths lead to them
        from an unpaired one), and all their candidates. Every maximum
        matching pairs all predicted pixels outside it that this one pairs,
        and within it all true pixels (Dulmage and Mendelsohn 1958). So the
        part is the same whichever maximum matching this one is.

        Args:
            active: The set that was last given to :meth:`update`.

        Returns:
            Of each candidate pair in it the predicted pixel, the true one and
            the cost.
        """
        if self._stuck is None:
            unpaired = active & (self.partner < 0) & (self._degree > 0)
            self._stuck = self._reached(np.flatnonzero(unpaired))
        pred, edge = self._stuck
        return pred, self._indices[edge], self._cost[edge]

    def _edges(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The candidates of some rows: place in ``rows``, place in the pairs'
        ``indices``.
        """
        degree = self._degree[rows]
        place = np.repeat(np.arange(len(rows)), degree)
        first = self._indptr[rows] - (degree.cumsum() - degree)
        return place, np.arange(len(place)) + first[place]

    def _take_free(self, rows: np.ndarray) -> np.ndarray:
        """Pair each row with its nearest free pixel; returns those left."""
        asking = rows
        while asking.size:
            place, edge = self._edges(asking)
            true = self._indices[edge]
            free = self.mate[true] < 0
            place, true = place[free], true[free]
            first = np.flatnonzero(np.diff(place, prepend=-1))
            asking, wanted = asking[place[first]], true[first]
            # Of several that ask for one pixel the last one gets it.
            self.mate[wanted] = asking
            won = self.mate[wanted] == asking
            self.partner[asking[won]] = wanted[won]
            asking = asking[~won]
        return rows[self.partner[rows] < 0]

    def _augment(self, rows: np.ndarray) -> None:
        """Pair as many of the unpaired rows as pairs that change hands allow.

        Args:
            rows: All active ones that are unpaired.
        """
        pred, edge = self._reached(rows)
        true = self._indices[edge]
        seen = np.zeros(len(self.mate), bool)
        seen[true] = True
        true_at = np.flatnonzero(seen)
        free = self.mate[true_at] < 0
        if not free.any():
            self._stuck = pred, edge
            return
        # Source, predicted pixels, true pixels, sink.
        rows_at = np.concatenate([rows, self.mate[true_at[~free]]])
        pred_node = np.empty(len(self.partner), np.int32)
        pred_node[rows_at] = np.arange(1, len(rows_at) + 1)
        size = len(rows_at)
        true_node = np.empty(len(self.mate), np.int32)
        true_node[true_at] = np.arange(size + 1, size + len(true_at) + 1)
        sink = size + len(true_at) + 1
        new = self.partner[pred] != true
        ends = true_node[true_at[free]]
        tail = np.concatenate(
            [
                np.zeros(len(rows), np.int32),
                pred_node[pred[new]],
                true_node[true_at[~free]],
                ends,
            ]
        )
        head = np.concatenate(
            [
                pred_node[rows],
                true_node[true[new]],
                pred_node[rows_at[len(rows) :]],
                np.full_like(ends, sink),
            ]
        )
        graph = csr_matrix(
            (np.ones(len(tail), np.int32), (tail, head)), (sink + 1, sink + 1)
        )
        flow = maximum_flow(graph, 0, sink).flow.tocoo()
        tail, head = flow.row[flow.data > 0], flow.col[flow.data > 0]
        # New pairs. Whoever gives a pixel up is given another one, and so on.
        new = (tail > 0) & (tail <= size) & (head > size)
        asking, wanted = rows_at[tail[new] - 1], true_at[head[new] - 1 - size]
        self.mate[wanted] = asking
        self.partner[asking] = wanted

    def _reached(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The candidates of ``rows`` and of all predicted pixels whose
        partner can be reached from them: predicted pixel, place in the pairs'
        ``indices``.
        """
        seen = np.zeros(len(self.mate), bool)
        preds, edges = [rows[:0]], [rows[:0]]
        while rows.size:
            place, edge = self._edges(rows)
            true = self._indices[edge]
            preds.append(rows[place])
            edges.append(edge)
            fresh = np.zeros_like(seen)
            fresh[true] = True
            fresh &= ~seen
            seen |= fresh
            rows = self.mate[fresh]
            rows = rows[rows >= 0]
        return np.concatenate(preds), np.concatenate(edges)


def match(pairs: csr_matrix) -> tuple[np.ndarray, int]:
    """As many pairs as possible, no pixel in two of them.

    Args:
        pairs: As :func:`candidates` gives it.

    Returns:
        Which predicted pixels are in a pair, bool; the number of pairs.
    """
    matched = Matching(pairs).update(np.ones(pairs.shape[0], bool))
    return matched, int(matched.sum())
