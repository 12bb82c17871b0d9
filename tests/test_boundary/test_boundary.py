import json
import runpy

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.sparse import random_array
from skimage import morphology

from mmprotomtl.boundary import (
    Matching,
    candidates,
    count,
    match,
    scores,
    thin,
    thin_levels,
    thresholds,
)
from tests.conftest import ROOT


@pytest.mark.parametrize('share', [0.3, 0.6, 0.9])
def test_thinning_is_that_of_skimage(share):
    mask = np.random.default_rng(0).random((50, 70)) < share
    assert (thin(mask) == morphology.thin(mask)).all()


def test_more_maps_than_bits_are_thinned_each_alone():
    y, x = np.mgrid[:40, :60]
    prob = (np.sin(x / 5) * np.cos(y / 7) + 1) / 2
    values = thresholds(99)
    levels = (prob[..., None] >= values).sum(-1)
    maps = thin_levels(levels, 99)
    for k in range(0, 99, 7):
        assert (maps[k] == morphology.thin(prob >= values[k])).all()


def test_as_many_pairs_as_an_assignment_finds():
    rng = np.random.default_rng(0)
    for density in (0.02, 0.05, 0.1, 0.3):
        graph = random_array((40, 30), density=density, format='csr', rng=rng)
        graph.data[:] = 1
        dense = graph.toarray()
        best = dense[linear_sum_assignment(-dense)].sum()
        matched, size = match(graph.astype(np.int32))
        assert size == best == matched.sum()


def test_pairs_that_stay_do_not_cost_any():
    """Each set of pixels has as many pairs as if it had been the first."""
    rng = np.random.default_rng(0)
    pred, truth = rng.random((2, 30, 40)) < 0.15
    pairs = candidates(pred, truth, 2.9)
    matching = Matching(pairs)
    dense = (pairs.toarray() > 0) * 1
    active = rng.random(len(dense)) < 0.3
    kept = []
    for share in (0.05, 0.05, 0.2, 0.5, 0.02, 0.9, 0.0):
        before = matching.partner.copy()
        matched = matching.update(active)
        best = dense[active][linear_sum_assignment(-dense[active])].sum()
        assert matched.sum() == best > 0
        assert not (matched & ~active).any()
        # The pairs are pairs: allowed, and of no pixel twice.
        at = np.flatnonzero(matched)
        partners = matching.partner[at]
        assert (dense[at, partners] == 1).all()
        assert len(set(partners)) == best
        assert (matching.mate[partners] == at).all()
        assert (matching.mate >= 0).sum() == best
        kept.append((before[at] == partners).mean())
        active = active ^ (rng.random(len(dense)) < share)
    assert min(kept[1:3]) > 0.7
    assert not matching.update(np.zeros(len(dense), bool)).any()


def test_the_nearest_pair_comes_first():
    truth, pred = np.zeros((2, 9, 9), bool)
    pred[4, 4] = True
    truth[[4, 4, 2, 4], [2, 5, 2, 8]] = True
    row = candidates(pred, truth, 3)
    places = np.argwhere(truth)[row.indices].tolist()
    assert places == [[4, 5], [4, 2], [2, 2]]


@pytest.mark.parametrize('number', [99, 101])
def test_counts_of_each_threshold_against_an_assignment(number):
    """Every threshold alone: thinned by skimage, matched by a dense cost
    matrix, as a straight implementation would.
    """
    y, x = np.mgrid[:34, :46]
    prob = np.exp(-((y - 17 - 6 * np.sin(x / 6)) ** 2) / 12)
    prob = np.rint(255 * prob.clip(0, 1)) / 255
    truth = morphology.thin(np.roll(prob, 2, 1) > 0.93)
    truth[30] = True
    counts = count(prob, [truth], 0.04, number)
    reach = 0.04 * np.hypot(34, 46)
    true = np.argwhere(truth)
    for k in range(0, number, 5):
        guess = np.argwhere(morphology.thin(prob >= (k + 1) / (number + 1)))
        near = np.hypot(*(guess[:, None] - true[None]).transpose(2, 0, 1))
        near = near <= reach
        found = near[linear_sum_assignment(near, maximize=True)].sum()
        assert counts[k].tolist() == [found, len(guess), found, len(true)], k


@pytest.mark.parametrize('reach', [3.3, 3.0, 0.9])
def test_pairs_are_those_within_reach(reach):
    rng = np.random.default_rng(0)
    pred, truth = rng.random((2, 20, 30)) < 0.1
    pairs = candidates(pred, truth, reach).toarray() > 0
    a, b = np.argwhere(pred), np.argwhere(truth)
    distance = np.hypot(*(a[:, None] - b[None]).transpose(2, 0, 1))
    assert (pairs == (distance <= reach)).all()


def test_a_true_pixel_is_found_once():
    # Two lines beside one true line: only one of them can be right.
    truth, prob = np.zeros((2, 60, 60))
    truth[30, 10:50] = 1
    prob[[29, 31], 10:50] = 1
    counts = count(prob, [truth > 0], max_dist=0.03, number=3)
    assert counts.tolist() == [[40, 80, 40, 40]] * 4
    got = scores(counts)
    assert got['ODS'] == got['OIS'] == pytest.approx(2 / 3)


def test_a_pixel_is_right_by_any_annotator():
    one, other = np.zeros((2, 40, 40), bool)
    one[10, 5:35] = True
    other[30, 5:35] = True
    counts = count((one | other) * 1.0, [one, other], number=1)
    assert counts[0].tolist() == [60, 60, 60, 60]
    counts = count(one * 1.0, [one, other], number=1)
    assert counts[0].tolist() == [30, 30, 30, 60]


def test_no_truth_is_no_score():
    counts = count(np.ones((9, 9)), [np.zeros((9, 9), bool)], number=3)
    assert np.isnan(list(scores(counts).values())).all()


@pytest.mark.parametrize('run', ['test_1', 'test_2', 'test_3', 'test_4'])
def test_the_numbers_of_matlab(shared_data, run):
    oracle = runpy.run_path(str(ROOT / 'benchmarks/edge_oracle.py'))
    got = oracle['compare'](shared_data / 'oracles' / 'bsds_bench', run)
    ours, matlab = got['scores']
    assert ours == pytest.approx(matlab, abs=0.001)
    for key, places in (('cntR', 0.1), ('cntP', 0.02)):
        ours, matlab = got[key]
        # Matlab's share of our number of pixels is a whole number of pixels:
        # these numbers are Matlab's too.
        assert matlab == pytest.approx(np.round(matlab), abs=places)
        assert len(ours) == 5
        assert ours == pytest.approx(matlab, rel=0.002)
    ours, matlab = got['images']
    assert ours.shape == (5, 2)
    assert ours == pytest.approx(matlab, rel=0.005)


def test_the_tool_has_the_numbers_of_matlab(shared_data, tool, tmp_path):
    root = shared_data / 'oracles' / 'bsds_bench'
    tool(
        'tools/analysis_tools/eval_edges.py', root / 'png',
        root / 'groundTruth', '--thresholds', 5, '--out', tmp_path / 'o.json',
    )  # fmt: skip
    got = json.loads((tmp_path / 'o.json').read_text())
    ods, ois, ap = np.loadtxt(root / 'test_2/eval_bdry.txt')[[3, 6, 7]]
    expected = dict(ODS=ods, OIS=ois, AP=ap)
    assert {key: got[key] for key in expected} == pytest.approx(
        expected, abs=0.001
    )
    at, recall, precision, _ = np.loadtxt(root / 'test_2/eval_bdry_thr.txt').T
    assert got['thresholds'] == pytest.approx(at, abs=1e-6)
    assert np.divide(got['cntR'], got['sumR']) == pytest.approx(
        recall, rel=0.002
    )
    assert np.divide(got['cntP'], got['sumP']) == pytest.approx(
        precision, rel=0.002
    )
