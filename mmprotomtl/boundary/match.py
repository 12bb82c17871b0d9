"""One-to-one matching of predicted and true boundary pixels."""

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow


def candidates(
    pred: np.ndarray, truth: np.ndarray, reach: float
) -> csr_matrix:
    """List the true pixels that each predicted pixel may be matched with.

    Args:
        pred: Predicted pixels, bool ``H x W``.
        truth: True pixels, bool ``H x W``.
        reach: Maximum distance of a pair, in pixels.

    Returns:
        A sparse matrix, predicted x true pixels, both in the order of
        ``np.nonzero``. The entries of a row are sorted by distance. The value
        of a pair is its distance in hundredths of a pixel, rounded as the
        benchmark does, plus 1 (SciPy does not treat a stored 0 as a pair).
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
    """A maximum matching, updated for one set of predicted pixels after the
    other.

    Neighbouring thresholds share most of their pixels. So an update keeps the
    pairs whose predicted pixel is still active, gives each new pixel its
    nearest free partner, and then finds the remaining augmenting paths as a
    maximum flow (SciPy's Dinic algorithm) in the residual network, from
    unmatched predicted to unmatched true pixels. The number of pairs is always
    the maximum. Which of several maximum matchings results depends on the
    earlier sets; for the matching of minimum total distance see
    :mod:`mmprotomtl.boundary.cover`.

    Args:
        pairs: Result of :func:`candidates`.
    """

    def __init__(self, pairs: csr_matrix) -> None:
        self._indptr = pairs.indptr
        self._indices = pairs.indices
        self._cost = pairs.data
        self._degree = np.diff(pairs.indptr)
        #: The true pixel matched with each predicted pixel, -1 if none.
        self.partner = np.full(pairs.shape[0], -1)
        #: The predicted pixel matched with each true pixel, -1 if none.
        self.mate = np.full(pairs.shape[1], -1)
        #: Candidate pairs for :meth:`contested`; None: not computed yet.
        self._stuck: tuple[np.ndarray, np.ndarray] | None = None

    def update(self, active: np.ndarray) -> np.ndarray:
        """Match the predicted pixels that are ``active``.

        Args:
            active: Bool, one value per predicted pixel.

        Returns:
            Whether each predicted pixel is matched, bool.
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
        """Return the subgraph in which maximum matchings differ.

        It consists of the predicted pixels that at least one maximum matching
        leaves unmatched (those that an alternating path reaches from an
        unmatched pixel with candidates) and of all their candidates. Outside
        this subgraph all maximum matchings cover the same predicted pixels;
        inside it every maximum matching covers all true pixels (Dulmage and
        Mendelsohn 1958). So the subgraph does not depend on which maximum
        matching was found.

        Args:
            active: The set that was last passed to :meth:`update`.

        Returns:
            The predicted pixel, the true pixel and the cost of each candidate
            pair of the subgraph.
        """
        if self._stuck is None:
            unpaired = active & (self.partner < 0) & (self._degree > 0)
            self._stuck = self._reached(np.flatnonzero(unpaired))
        pred, edge = self._stuck
        return pred, self._indices[edge], self._cost[edge]

    def _edges(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the candidate pairs of some predicted pixels.

        Returns:
            For each pair, the position of its predicted pixel in ``rows`` and
            the position of the pair in ``indices`` of the sparse matrix.
        """
        degree = self._degree[rows]
        place = np.repeat(np.arange(len(rows)), degree)
        first = self._indptr[rows] - (degree.cumsum() - degree)
        return place, np.arange(len(place)) + first[place]

    def _take_free(self, rows: np.ndarray) -> np.ndarray:
        """Greedily match rows with their nearest free true pixels.

        Returns:
            The rows that are still unmatched.
        """
        asking = rows
        while asking.size:
            place, edge = self._edges(asking)
            true = self._indices[edge]
            free = self.mate[true] < 0
            place, true = place[free], true[free]
            first = np.flatnonzero(np.diff(place, prepend=-1))
            asking, wanted = asking[place[first]], true[first]
            # If several rows want the same true pixel, the last one gets it.
            self.mate[wanted] = asking
            won = self.mate[wanted] == asking
            self.partner[asking[won]] = wanted[won]
            asking = asking[~won]
        return rows[self.partner[rows] < 0]

    def _augment(self, rows: np.ndarray) -> None:
        """Extend the matching to maximum size by augmenting paths.

        Args:
            rows: All active predicted pixels that are unmatched.
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
        # Nodes of the network: source, predicted pixels, true pixels, sink.
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
        # New pairs. A predicted pixel that loses its partner along a path
        # gets another one on the same path.
        new = (tail > 0) & (tail <= size) & (head > size)
        asking, wanted = rows_at[tail[new] - 1], true_at[head[new] - 1 - size]
        self.mate[wanted] = asking
        self.partner[asking] = wanted

    def _reached(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return all candidate pairs that alternating paths reach from rows.

        Returns:
            For each pair, its predicted pixel and the position of the pair in
            ``indices`` of the sparse matrix.
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
    """Find a matching of maximum size.

    Args:
        pairs: Result of :func:`candidates`.

    Returns:
        Whether each predicted pixel is matched (bool), and the number of
        pairs.
    """
    matched = Matching(pairs).update(np.ones(pairs.shape[0], bool))
    return matched, int(matched.sum())
