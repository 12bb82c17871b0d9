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
        Predicted x true pixels, both in the order of ``np.nonzero``.
    """
    radius = int(reach)
    index = np.pad(np.full(truth.shape, -1, np.int32), radius, 'constant',
                   constant_values=-1)  # fmt: skip
    columns = int(truth.sum())
    height, width = truth.shape
    inner = index[radius : radius + height, radius : radius + width]
    inner[truth] = np.arange(columns)
    offset = np.arange(-radius, radius + 1)
    dy, dx = np.meshgrid(offset, offset, indexing='ij')
    near = dy**2 + dx**2 <= reach**2
    y, x = np.nonzero(pred)
    found = index[
        y[:, None] + dy[near] + radius, x[:, None] + dx[near] + radius
    ]
    hit = found >= 0
    indptr = np.concatenate([[0], hit.sum(1).cumsum()])
    indices = found[hit]
    return csr_matrix(
        (np.ones(len(indices), np.int32), indices, indptr), (len(y), columns)
    )


def match(pairs: csr_matrix) -> tuple[np.ndarray, int]:
    """As many pairs as possible, no pixel in two of them.

    The pairs are the flow of greatest value from a source through predicted
    and true pixels to a sink, each of capacity 1, found by SciPy's Dinic.

    Args:
        pairs: As :func:`candidates` gives it.

    Returns:
        Which predicted pixels are in a pair, bool; the number of pairs.
    """
    degree = np.diff(pairs.indptr)
    matched = np.zeros(len(degree), bool)
    rows = np.flatnonzero(degree)
    if not rows.size:
        return matched, 0
    size, columns = len(rows), pairs.shape[1]
    sink = size + columns + 1
    # Source, predicted pixels, true pixels, sink.
    counts = np.concatenate([[size], degree[rows], np.ones(columns, int), [0]])
    indices = np.concatenate(
        [
            np.arange(1, size + 1),
            pairs.indices + size + 1,
            np.full(columns, sink),
        ]
    )
    graph = csr_matrix(
        (
            np.ones(len(indices), np.int32),
            indices.astype(np.int32),
            np.concatenate([[0], counts.cumsum()]).astype(np.int32),
        ),
        (sink + 1, sink + 1),
    )
    graph.sort_indices()
    result = maximum_flow(graph, 0, sink)
    used = result.flow[0].tocoo()
    matched[rows[used.col[used.data > 0] - 1]] = True
    return matched, int(result.flow_value)
