"""One-to-one matching of predicted and true boundary pixels."""

import numpy as np
from scipy.sparse import csr_matrix


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
    nearest free partner, and then searches the remaining augmenting paths,
    from unmatched predicted to unmatched true pixels. The number of pairs is
    always the maximum. Which of several maximum matchings results depends on
    the earlier sets; for the matching of minimum total distance see
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
        #: Predicted pixel and place in ``indices`` of each pair that
        #: :meth:`contested` returns.
        self._stuck = (np.empty(0, np.intp), np.empty(0, np.intp))

    def update(self, active: np.ndarray) -> np.ndarray:
        """Match the predicted pixels that are ``active``.

        Args:
            active: Bool, one value per predicted pixel.

        Returns:
            Whether each predicted pixel is matched, bool.
        """
        gone = np.flatnonzero(~active & (self.partner >= 0))
        self.mate[self.partner[gone]] = -1
        self.partner[gone] = -1
        rows = np.flatnonzero(active & (self.partner < 0) & (self._degree > 0))
        self._stuck = rows[:0], rows[:0]
        self._augment(self._take_free(rows))
        return self.partner >= 0

    def contested(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the subgraph in which the maximum matchings of the set that
        was last passed to :meth:`update` differ.

        It consists of the predicted pixels that at least one maximum matching
        leaves unmatched (those that an alternating path reaches from an
        unmatched pixel with candidates) and of all their candidates. Outside
        this subgraph all maximum matchings cover the same predicted pixels;
        inside it every maximum matching covers all true pixels (Dulmage and
        Mendelsohn 1958). So the subgraph does not depend on which maximum
        matching was found.

        Returns:
            The predicted pixel, the true pixel and the cost of each candidate
            pair of the subgraph.
        """
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

        A search tree grows from every row, all at the same time. Trees share
        no pixel, so that each of those that reach a free true pixel gives one
        path. Then the remaining rows start again; if no tree reaches a free
        pixel, there is no augmenting path (Berge 1957).

        Args:
            rows: All active predicted pixels that are unmatched.
        """
        while rows.size and self._grow(rows):
            rows = rows[self.partner[rows] < 0]

    def _grow(self, roots: np.ndarray) -> bool:
        """Grow the trees of :meth:`_augment` once, augment along their paths.

        Returns:
            Whether there was a path.
        """
        #: Predicted pixel from which each true pixel was reached first.
        parent = np.full(len(self.mate), -1)
        #: Root of the tree of each predicted pixel.
        root = np.empty(len(self.partner), np.intp)
        root[roots] = roots
        #: Free true pixel that the tree of each root reached.
        end = np.full(len(self.partner), -1)
        rows, reached, edges = roots, [], []
        while rows.size:
            place, edge = self._edges(rows)
            true, pred = self._indices[edge], rows[place]
            reached.append(pred)
            edges.append(edge)
            new = parent[true] < 0
            pred, true = pred[new], true[new]
            parent[true] = pred
            # If several pixels reach a true pixel, the last one gets it.
            won = parent[true] == pred
            pred, true = pred[won], true[won]
            rows = self.mate[true]
            free = rows < 0
            end[root[pred[free]]] = true[free]
            rows, pred = rows[~free], pred[~free]
            root[rows] = root[pred]
            rows = rows[end[root[rows]] < 0]
        true = end[roots]
        true = true[true >= 0]
        if not true.size:
            self._stuck = np.concatenate(reached), np.concatenate(edges)
            return False
        # From the free ends back to the roots, all paths at the same time.
        while true.size:
            pred = parent[true]
            before = self.partner[pred]
            self.mate[true] = pred
            self.partner[pred] = true
            true = before[before >= 0]
        return True


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
