"""Saliency against PySODMetrics.

It averages F over images and looks at each of 256 levels; what it counts at a
level, and its F of counts that are summed over the data set, are comparable.
"""

import numpy as np
import py_sod_metrics as sod
import pytest
import torch

from mmprotomtl.evaluation.measures import ForegroundF, ForegroundOverlap


def images(number=6, seed=0):
    """8-bit saliency maps that go from 0 to 255 (PySODMetrics stretches any
    other), and masks 0 or 255, of one size.
    """
    rng = np.random.default_rng(seed)
    for _ in range(number):
        mask = np.zeros((30, 40), np.uint8)
        top, left = rng.integers(2, 12, 2)
        mask[top : top + 12, left : left + 20] = 255
        noise = rng.random((30, 40)) ** 2
        pred = 255 * (0.55 * noise + 0.45 * (mask > 0) * rng.random())
        pred = np.rint(255 * (pred - pred.min()) / np.ptp(pred))
        yield pred.astype(np.uint8), mask


def ours(measure, pairs):
    total = 0
    for pred, mask in pairs:
        prob = torch.from_numpy(pred).double()[None] / 255
        label = torch.from_numpy((mask > 0).astype(np.uint8))[None]
        valid = torch.ones(label.shape[1:]).bool()
        total = total + measure.statistics(prob.float(), label, valid)
    return measure.compute(total.numpy())


class Counts:
    """Takes PySODMetrics' counts of each image at each level, 255 first."""

    def __init__(self):
        self.dynamic_results, self.adaptive_results = [], None
        self.binary_results = None

    def __call__(self, tp, fp, tn, fn):
        return np.stack([tp, fp, tn, fn])


def stepped(pairs, **handlers):
    metric = sod.FmeasureV2(metric_handlers=handlers)
    for pred, mask in pairs:
        metric.step(pred, mask)
    return metric


def level(threshold, strict=False):
    """Place of the first level that reaches a threshold."""
    levels = np.arange(256) / 255
    reached = levels > threshold if strict else levels >= threshold
    return 255 - int(np.flatnonzero(reached)[0])


def test_mean_absolute_error():
    metric = sod.MAE()
    for pred, mask in images():
        metric.step(pred, mask)
    expected = metric.get_results()['mae']
    assert ours(ForegroundF(), images())['MAE'] == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.parametrize('compatible', [False, True])
def test_max_f_of_the_pooled_counts(compatible):
    counts = Counts()
    stepped(images(), counts=counts)
    pooled = np.sum(counts.dynamic_results, axis=0)
    f = sod.FmeasureHandler(False, False, beta=0.3)(*pooled)
    cuts = np.arange(1, 20) / 20
    if compatible:
        # Where the second sigmoid passes a cut; it is .5 or more everywhere.
        cuts = [0.0, 0.2007, 0.4055, 0.619, 0.8473]
    expected = max(f[level(cut)] for cut in cuts)
    got = ours(ForegroundF(compatible=compatible), images())
    assert got['maxF'] == pytest.approx(100 * expected, rel=1e-9)
    assert 0 < f.min() < expected < 1


def test_f_of_binary_maps():
    """All of our thresholds are one then, and PySODMetrics pools itself."""
    pairs = [
        (np.where(p > 110, 255, 0).astype(np.uint8), m) for p, m in images()
    ]
    handler = sod.FmeasureHandler(
        False, False, with_binary=True, sample_based=False, beta=0.3
    )
    metric = stepped(pairs, fm=handler)
    expected = metric.get_results()['fm']['binary']
    got = ours(ForegroundF(), pairs)['maxF']
    assert got == pytest.approx(100 * expected, rel=1e-9)


def test_mean_overlap():
    handler = sod.IOUHandler(True, False)
    stepped(images(), iou=handler)
    means = np.mean(handler.dynamic_results, axis=0)
    expected = max(
        means[level(cut, strict=True)] for cut in np.linspace(0.2, 0.9, 15)
    )
    got = ours(ForegroundOverlap(), images())['mIoU']
    assert got == pytest.approx(100 * expected, rel=1e-9)
