"""Several annotators: which predicted pixels their matchings hold."""

import itertools
import runpy

import numpy as np
import pytest
from PIL import Image
from scipy.sparse import csr_matrix

from mmprotomtl.boundary import (
    Cover,
    candidates,
    count,
    count_maps,
    cover,
    preference,
    thin_levels,
    thresholds,
)
from mmprotomtl.readers.matlab import read_mat
from tests.conftest import ROOT


def every_matching(dense):
    """All matchings of a table of costs (0: no pair): the pairs of each."""

    def extend(row, free):
        if row == len(dense):
            yield ()
            return
        yield from extend(row + 1, free)
        for column in free:
            if dense[row, column]:
                for rest in extend(row + 1, free - {column}):
                    yield ((row, column), *rest)

    return extend(0, frozenset(range(dense.shape[1])))


def best_pixels(dense, active, rank):
    """The predicted pixels of the best matching, by trying all."""

    def badness(pairs):
        return (
            -len(pairs),
            sum(dense[pair] for pair in pairs),
            sum(rank[row] for row, _ in pairs),
        )

    table = dense * active[:, None]
    best = min(every_matching(table), key=badness)
    return sorted(row for row, _ in best), len(best)


def random_table(rng, rows=6, columns=4, costs=3):
    """Few different costs, so that many matchings are equally good."""
    share = rng.random((rows, columns)) < rng.choice([0.3, 0.5, 0.8])
    return share * rng.integers(1, costs + 1, (rows, columns))


def held_by(each):
    """The pixels of a cover, all its groups solved."""
    held = each.certain.copy()
    for key in list(each.groups):
        each.solve(key)
    for rows in each.solved.values():
        held[rows] = True
    return np.flatnonzero(held).tolist()


@pytest.mark.parametrize('dense', [0, 2**15])
def test_the_best_of_all_matchings(monkeypatch, dense):
    """Greatest size, then least cost, then the preferred pixels: for one set
    after the other, by either solver.
    """
    monkeypatch.setattr(cover, '_DENSE', dense)
    rng = np.random.default_rng(0)
    contested = 0
    for _ in range(40):
        table = random_table(rng)
        rank = rng.permutation(len(table))
        each = Cover(csr_matrix(table), rank)
        for _ in range(3):
            active = rng.random(len(table)) < 0.8
            size = each.update(active)
            contested += len(each.groups)
            pixels, expected = best_pixels(table, active, rank)
            assert size == expected
            assert held_by(each) == pixels
    assert contested > 60


def test_least_cost_where_doubles_cannot_hold_the_ranks(monkeypatch):
    """The preference is given up then, never the distance."""
    rng = np.random.default_rng(1)
    for _ in range(40):
        table = random_table(rng, costs=40)
        active = np.ones(len(table), bool)
        rank = rng.permutation(len(table))
        held = []
        for exact in (2**53, 1000, 1):
            monkeypatch.setattr(cover, '_EXACT', exact)
            each = Cover(csr_matrix(table), rank)
            each.update(active)
            held.append(held_by(each))
        costs = []
        for rows in held:
            # All matchings of these pixels alone: the cheapest full one.
            full = (
                sum(table[pair] for pair in pairs)
                for pairs in every_matching(table[rows] * 1)
                if len(pairs) == len(rows)
                for pairs in [[(rows[r], c) for r, c in pairs]]
            )
            costs.append(min(full, default=0))
        assert len({len(rows) for rows in held}) == 1
        assert len(set(costs)) == 1


def test_a_pixel_nearer_by_takes_over():
    """The upper cut has one pixel, two away from the first annotator's. In
    the lower one a pixel appears that is nearest for both annotators.
    """
    one, other, far, near = np.zeros((4, 20, 40), bool)
    one[10, 20] = other[10, 19] = True
    far[10, 22] = near[10, 20] = True
    maps = np.stack([far | near, far])
    counts = count_maps(maps, [one, other], 2.1 / np.hypot(20, 40))
    assert counts[:2].tolist() == [[1, 2, 2, 2], [1, 1, 1, 2]]
    # As many pairs as possible comes first: the distant pixel is needed.
    one[10, 21] = True
    counts = count_maps(maps, [one, other], 2.1 / np.hypot(20, 40))
    assert counts[:2].tolist() == [[2, 2, 3, 3], [1, 1, 1, 3]]


def noisy(seed, annotators, shape=(40, 56)):
    """A map with many levels and annotators who draw it differently."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    wave = np.sin((x + rng.normal(0, 1, shape)) / 4) * np.cos(y / 5)
    prob = np.rint(255 * (wave + 1) / 2) / 255
    truths = [
        (np.abs(wave - rng.uniform(-0.3, 0.6)) < 0.15)
        & (rng.random(shape) < 0.6)
        for _ in range(annotators)
    ]
    return prob, truths


@pytest.mark.parametrize('annotators', [1, 4])
def test_a_cut_counts_the_same_beside_any_others(annotators):
    prob, truths = noisy(0, annotators)
    levels = np.searchsorted(thresholds(23), prob, side='right')
    maps = thin_levels(levels, 23)
    whole = count_maps(maps, truths, 0.05)[:-1]
    assert len(np.unique(whole[:, 0])) > 15
    for places in ([11], [3, 4, 20], range(0, 23, 3), range(22, -1, -1)):
        places = list(places)
        part = count_maps(maps[places], truths, 0.05)[:-1]
        assert (part == whole[places]).all()


@pytest.mark.parametrize('annotators', [1, 3])
def test_a_cut_counts_the_same_among_1_9_and_99(annotators):
    prob, truths = noisy(2, annotators, (24, 32))
    half = [count(prob, truths, 0.07, n)[n // 2].tolist() for n in (1, 9, 99)]
    assert half[0] == half[1] == half[2]
    assert 0 < half[0][0] < half[0][1]


def test_the_order_of_annotators_does_not_matter():
    prob, truths = noisy(1, 4)
    assert (
        count(prob, truths, 0.05, 19) == count(prob, truths[::-1], 0.05, 19)
    ).all()
    # An annotator who is asked twice finds the same pixels again.
    once, twice = (count(prob, truths[:1] * n, 0.05, 19) for n in (1, 2))
    assert (twice == once * [1, 1, 2, 2]).all()


@pytest.mark.parametrize('seed', range(3))
def test_counts_of_a_straight_port_on_random_maps(seed):
    straight = runpy.run_path(str(ROOT / 'benchmarks/edge_speed.py'))[
        'straight_several'
    ]
    prob, truths = noisy(seed, 2 + seed)
    counts = count(prob, truths, 0.05, 15)
    expected = straight(prob, truths, 0.05, thresholds(15))
    assert counts[:-1].tolist() == expected.tolist()


@pytest.mark.parametrize('name', ['2018', '5096'])
def test_counts_of_a_straight_port_on_real_maps(shared_data, name):
    straight = runpy.run_path(str(ROOT / 'benchmarks/edge_speed.py'))[
        'straight_several'
    ]
    root = shared_data / 'oracles' / 'bsds_bench'
    prob = np.asarray(Image.open(root / f'png/{name}.png')) / 255
    cells = read_mat(str(root / f'groundTruth/{name}.mat'), 'groundTruth')
    truths = [cell['Boundaries'][0, 0] > 0 for cell in cells.ravel()]
    crop = np.s_[60:220, 100:300]
    prob, truths = prob[crop], [truth[crop] for truth in truths]
    counts = count(prob, truths, 0.016, 9)
    expected = straight(prob, truths, 0.016, thresholds(9))
    assert counts[:-1].tolist() == expected.tolist()
    assert (counts[:-1, 0] < counts[:-1, 1]).any()
    assert (counts[:-1, 0] < counts[:-1, 2]).any()


def test_costs_are_distances_in_hundredths():
    pred, truth = np.zeros((2, 9, 9), bool)
    pred[4, 4] = truth[4, 4] = truth[4, 6] = truth[3, 5] = truth[2, 3] = True
    pairs = candidates(pred, truth, 2.9)
    assert pairs.data.tolist() == [1, 142, 201, 225]


def test_preference_is_an_order_of_places():
    place = np.array([3, 4, 5, 70, 1000])
    rank = preference(place)
    assert sorted(rank) == [0, 1, 2, 3, 4]
    # Whatever other pixels there are, two are in the same order.
    every = preference(np.arange(1200))
    for a, b in itertools.combinations(range(5), 2):
        assert (rank[a] < rank[b]) == (every[place[a]] < every[place[b]])
