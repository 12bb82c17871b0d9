import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat
from scipy.optimize import linear_sum_assignment
from scipy.sparse import random_array
from skimage import morphology

from mmprotomtl.evaluation.boundary import (
    candidates,
    count,
    count_maps,
    match,
    scores,
    suppress,
    thin,
    thin_levels,
    thresholds,
)
from mmprotomtl.tasks import build_tasks


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


def test_pairs_are_those_within_reach():
    rng = np.random.default_rng(0)
    pred, truth = rng.random((2, 20, 30)) < 0.1
    pairs = candidates(pred, truth, 3.3).toarray() > 0
    a, b = np.argwhere(pred), np.argwhere(truth)
    distance = np.hypot(*(a[:, None] - b[None]).transpose(2, 0, 1))
    assert (pairs == (distance <= 3.3)).all()


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


@pytest.mark.parametrize('degrees', [20, 70, 110, 160])
def test_suppression_keeps_the_ridge(degrees):
    y, x = np.mgrid[-25:26, -25:26]
    angle = np.radians(degrees)
    away = np.abs(x * np.cos(angle) + y * np.sin(angle))
    kept = suppress(np.exp(-(away**2) / 18))[8:-8, 8:-8] > 0
    away = away[8:-8, 8:-8]
    assert kept[away < 0.3].all()
    # 1 % lets the flat top stay, not the slopes.
    assert not kept[(away > 1.5) & (away < 6)].any()


def test_suppression_fades_at_the_border():
    kept = suppress(np.ones((20, 24)))
    assert kept[10, :7].tolist() == [0, 0.2, 0.4, 0.6, 0.8, 1, 1]
    assert (kept[[0, -1]] == 0).all()
    assert (kept[:, [0, -1]] == 0).all()


def test_presets():
    task = build_tasks(dict(edge=dict(max_dist=0.011)))['edge']
    got = {
        name: task.protocol_measures(name)[0]
        for name in ('astmt', 'mtinet', 'invpt')
    }
    assert {
        name: (cfg['num_thresholds'], cfg['nms'], cfg['max_dist'])
        for name, cfg in got.items()
    } == {
        'astmt': (99, True, 0.011),
        'mtinet': (99, False, 0.011),
        'invpt': (101, True, 0.011),
    }
    with pytest.raises(ValueError, match=r'tasks\.edge\.protocol'):
        build_tasks(dict(edge=dict(protocol='other')))


NAMES = ('2018', '3063', '5096', '6046', '8068')


def boundaries(segmentation):
    """Where one of a pixel's right and lower neighbours is another region."""
    padded = np.pad(segmentation, ((0, 1), (0, 1)), mode='edge')
    own = padded[:-1, :-1]
    return (
        (own != padded[1:, :-1])
        | (own != padded[:-1, 1:])
        | (own != padded[1:, 1:])
    )


@pytest.mark.parametrize('run', ['test_1', 'test_2', 'test_3', 'test_4'])
def test_the_numbers_of_matlab(shared_data, run):
    root = shared_data / 'oracles' / 'bsds_bench'
    total = 0
    for name in NAMES:
        cells = loadmat(root / f'groundTruth/{name}.mat')['groundTruth'][0]
        truths = [cell['Boundaries'][0, 0] > 0 for cell in cells]
        if run == 'test_1':
            ucm = loadmat(root / f'ucm2/{name}.mat')['ucm2'][2::2, 2::2]
            counts = count(ucm, truths, number=5)
        elif run == 'test_2':
            png = np.asarray(Image.open(root / f'png/{name}.png'))
            counts = count(png / 255, truths, number=5)
        else:
            segs = loadmat(root / f'segs/{name}.mat')['segs'][0]
            maps = np.stack([thin(boundaries(seg)) for seg in segs])
            counts = count_maps(maps, truths, 0.0075)
        total = total + counts
    ods, ois, ap = np.loadtxt(root / run / 'eval_bdry.txt')[[3, 6, 7]]
    assert scores(total) == pytest.approx(
        dict(ODS=ods, OIS=ois, AP=ap), abs=0.002
    )
    _, recall, precision, _ = np.loadtxt(root / run / 'eval_bdry_thr.txt').T
    right, guessed, found, true = total[:-1].T
    assert found / true == pytest.approx(recall, rel=0.005)
    assert right / guessed == pytest.approx(precision, rel=0.005)
