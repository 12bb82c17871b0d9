"""Predictions that say nothing must not score well."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmprotomtl.evaluation import measures
from mmprotomtl.evaluation.sums import ExactSum
from mmprotomtl.tasks import build_tasks
from mmprotomtl.testing import TASKS

H, W = 12, 16
GEN = torch.Generator().manual_seed(0)


def scores(name, *samples, **kwargs):
    """A measure over (prediction, label) pairs; a label's NaN: not valid."""
    measure = getattr(measures, name)(**kwargs)
    total = ExactSum()
    for pred, label in samples:
        valid = ~label.isnan().any(0)
        label = label.nan_to_num(0)
        total.add(measure.statistics(pred, label, valid).numpy())
    return measure.compute(ExactSum.total([total.parts]))


def boundary():
    label = torch.zeros(1, H, W)
    label[:, :, 5] = 1
    return label


NORMALS = F.normalize(torch.randn(3, H, W, generator=GEN), dim=0)
DEPTH = torch.rand(1, H, W, generator=GEN) + 1
MASK = (torch.rand(1, H, W, generator=GEN) > 0.5).float()
CLASSES = torch.randint(3, (1, H, W), generator=GEN).float()
#: Measure -> its settings, a label, what is best for each score.
CASES = {
    'AngularError': (
        {}, NORMALS,
        {'mErr': 0, 'rmse': 0, 'within_11.25': 100, 'within_22.5': 100,
         'within_30': 100},
    ),
    'RegressionError': ({}, DEPTH, dict(RMSE=0, absErr=0, relErr=0)),
    'ForegroundF': ({}, MASK, dict(maxF=100, MAE=0)),
    'ForegroundOverlap': ({}, MASK, dict(mIoU=100)),
    'ClassOverlap': (
        dict(num_classes=3), CLASSES, dict(mIoU=100, pixAcc=100),
    ),
    'BoundaryF': (
        dict(num_thresholds=5), boundary(), dict(odsF=100, oisF=100),
    ),
}  # fmt: skip
BAD = {'NaN': math.nan, 'inf': math.inf, '-inf': -math.inf}


def test_every_measure_is_here():
    assert {*CASES, 'Measure'} == set(measures.__all__)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('kind', BAD)
@pytest.mark.parametrize('name', CASES)
def test_nan_and_infinite_predictions(name, kind):
    """No score with them is as good as without, if it is a number at all."""
    kwargs, label, best = CASES[name]
    perfect = scores(name, (label, label), **kwargs)
    assert set(best) == set(perfect) - {'AP'}
    for key, value in best.items():
        assert perfect[key] == pytest.approx(value, abs=1.5), key
    for pixels in (slice(0, 1), slice(None)):
        pred = label.clone()
        pred[:, pixels] = BAD[kind]
        found = scores(name, (pred, label), **kwargs)
        for key, value in best.items():
            worse = found[key] < value if value else found[key] > value
            assert math.isnan(found[key]) or worse, key
    # What is not valid may be anything.
    label = label.clone()
    label[:, 3] = math.nan
    pred = label.nan_to_num(BAD[kind])
    found = scores(name, (pred, label), **kwargs)
    for key, value in best.items():
        assert found[key] == pytest.approx(value, abs=1.5), key


def test_vectors_without_a_length():
    nothing = torch.zeros(3, H, W)
    found = scores('AngularError', (nothing, NORMALS))
    assert found['mErr'] == found['rmse'] == 180
    assert [found[f'within_{t}'] for t in ('11.25', '22.5', '30')] == [0] * 3
    half = NORMALS.clone()
    half[:, : H // 2] = 0
    found = scores('AngularError', (half, NORMALS))
    assert found['mErr'] == pytest.approx(90)
    assert found['within_30'] == pytest.approx(50)
    # Short ones have a direction.
    found = scores('AngularError', (NORMALS * 1e-6, NORMALS))
    assert found['mErr'] == pytest.approx(0, abs=1e-3)


def test_logits_of_nothing():
    """From the network's output to the score, for every task."""
    tasks = build_tasks(TASKS)
    zero = torch.zeros(1, 3, H, W)
    pred = tasks['normals'].predict(zero)[0]
    assert scores('AngularError', (pred, NORMALS))['mErr'] == 180
    logits = torch.randn(1, 7, H, W, generator=GEN)
    logits[:, 2, :6] = math.nan
    pred = tasks['semseg'].predict(logits)
    assert (pred[0, 0, :6] == -1).all() and (pred[0, 0, 6:] >= 0).all()
    for name, label in (
        ('sal', MASK), ('edge', boundary()), ('depth', DEPTH),
        ('semseg', CLASSES), ('human_parts', CLASSES),
    ):  # fmt: skip
        task = tasks[name]
        broken = torch.full((1, task.out_channels, H, W), math.nan)
        (cfg, *_) = task.measure_cfgs()
        cfg = dict(cfg)
        found = scores(
            cfg.pop('type'), (task.predict(broken)[0], label), **cfg
        )
        value = found[task.standing_metric]
        assert math.isnan(value) or value == 0, name


def test_numbers_that_are_no_class():
    """They miss the true class and are no hit of another one."""
    label = torch.tensor([[[0, 0, 1, 1]]]).float()
    pred = torch.tensor([[[0, -1, 1, 3]]])
    found = scores('ClassOverlap', (pred, label), num_classes=3)
    assert found == dict(mIoU=50, pixAcc=50)
    ids = torch.tensor([[[-1, 0]]]).numpy()
    task = build_tasks(dict(semseg=dict(num_classes=3)))['semseg']
    picture = task.draw(ids)
    assert (picture[0, 0] != picture[0, 1]).any()


#: Maps that say the same everywhere -> their score, worked out by hand.
CONSTANT = {
    ('ForegroundF', 0.0): dict(maxF=0.0),
    # F = 1.3 P R / (.3 P + R) with P = .25, R = 1.
    ('ForegroundF', 1.0): dict(maxF=100 * 1.3 * 0.25 / 1.075),
    ('ForegroundOverlap', 0.0): dict(mIoU=0.0),
    ('ForegroundOverlap', 1.0): dict(mIoU=25.0),
    ('BoundaryF', 0.0): dict(odsF=0.0, oisF=0.0, AP=0.0),
}


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(('name', 'value'), CONSTANT)
def test_constant_maps(name, value):
    label = torch.zeros(1, H, W)
    label[:, :, :4] = 1
    found = scores(name, (torch.full_like(label, value), label))
    for key, expected in CONSTANT[name, value].items():
        assert found[key] == pytest.approx(expected), key


@pytest.mark.filterwarnings('error')
def test_depth_of_zero_and_below():
    for value in (0.0, -1.0, -1000.0):
        pred = torch.full_like(DEPTH, value)
        found = scores('RegressionError', (pred, DEPTH))
        error = (DEPTH - value).double().numpy()
        assert found['absErr'] == pytest.approx(error.mean())
        relative = (error / DEPTH.double().numpy()).mean()
        assert found['relErr'] == pytest.approx(relative)
        assert found['RMSE'] == pytest.approx(np.sqrt((error**2).mean()))
        assert found['relErr'] > 0.99
