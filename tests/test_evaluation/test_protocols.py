"""Protocols of published tables, against plain NumPy in float64."""

import numpy as np
import pytest
import torch
import torchmetrics
from sklearn import metrics as sklearn

from mmprotomtl.evaluation import MultiTaskMetric
from mmprotomtl.evaluation.measures import ForegroundF, ForegroundOverlap
from mmprotomtl.tasks import build_tasks


def images(number=5, seed=0):
    """Probabilities in float64 and labels with unlabelled pixels."""
    rng = np.random.default_rng(seed)
    for i in range(number):
        shape = (20 + i, 31)
        label = (rng.random(shape) < 0.3).astype(np.uint8)
        prob = np.clip(0.4 * label + 0.6 * rng.random(shape) ** 2, 0, 1)
        # No probability is a threshold, nor within rounding of one.
        prob = np.round(prob, 3) + 0.00031
        label[rng.random(shape) < 0.1] = 255
        if i == 3:
            label[label == 1], prob = 0, prob * 0.15
        yield prob, label


def score(measure):
    total = 0
    for prob, label in images():
        label = torch.from_numpy(label)[None]
        prob = torch.from_numpy(prob).float()[None]
        total = total + measure.statistics(prob, label, label[0] != 255)
    return measure.compute(total.numpy())


def flat():
    pairs = [(p[t != 255], t[t != 255] == 1) for p, t in images()]
    return (np.concatenate(part) for part in zip(*pairs, strict=True))


def f_measure(guess, truth):
    precision = (guess & truth).sum() / max(guess.sum(), 1)
    recall = (guess & truth).sum() / truth.sum()
    return 1.3 * precision * recall / max(0.3 * precision + recall, 1e-12)


def test_max_f_and_error():
    prob, truth = flat()
    best = max(f_measure(prob >= k / 20, truth) for k in range(1, 20))
    got = score(ForegroundF())
    assert got['maxF'] == pytest.approx(100 * best, rel=1e-9)
    assert got['MAE'] == pytest.approx(np.abs(prob - truth).mean(), rel=1e-6)


def test_the_second_sigmoid_leaves_four_cuts_and_none():
    prob, truth = flat()
    cuts = [-np.inf, 0.2007, 0.4055, 0.619, 0.8473]
    best = max(f_measure(prob >= cut, truth) for cut in cuts)
    sigmoid = 1 / (1 + np.exp(-prob))
    literal = max(f_measure(sigmoid >= k / 20, truth) for k in range(1, 20))
    got = score(ForegroundF(compatible=True))
    assert got['maxF'] == pytest.approx(100 * literal, rel=1e-9)
    assert got['maxF'] == pytest.approx(100 * best, rel=1e-9)
    assert got['maxF'] != pytest.approx(score(ForegroundF())['maxF'])
    assert got['MAE'] == score(ForegroundF())['MAE']


def test_overlap_is_the_best_mean_over_images():
    means = []
    for threshold in np.linspace(0.2, 0.9, 15):
        ious = []
        for prob, label in images():
            known, truth = label != 255, label == 1
            guess = (prob > threshold) & known
            union = (guess | truth).sum()
            ious.append((guess & truth).sum() / union if union else 1)
        means.append(np.mean(ious))
    assert 1 in ious  # the image without a foreground
    got = score(ForegroundOverlap())['mIoU']
    assert got == pytest.approx(100 * max(means), rel=1e-9)
    empty = ForegroundOverlap().statistics(
        torch.rand(1, 2, 2), torch.ones(1, 2, 2), torch.zeros(2, 2).bool()
    )
    assert np.isnan(ForegroundOverlap().compute(empty.numpy())['mIoU'])


@pytest.mark.parametrize(
    ('protocol', 'absent', 'compatible', 'overlap'),
    [
        ('default', 'ignore', False, False),
        ('invpt', 'zero', True, False),
        ('mtinet', 'zero', False, True),
        ('mtpsl', 'ignore', False, True),
    ],
)
def test_what_a_protocol_means(protocol, absent, compatible, overlap):
    tasks = dict(semseg=dict(num_classes=4), sal=dict())
    metric = MultiTaskMetric(tasks=tasks, protocol=protocol)
    pred = torch.tensor([[[0, 1], [1, 1]]])
    truth = torch.tensor([[[0, 0], [1, 1]]])
    for prob, label in images():
        metric.process(
            None,
            [
                dict(
                    gt_maps=dict(
                        semseg=truth, sal=torch.from_numpy(label)[None]
                    ),
                    pred_maps=dict(
                        semseg=pred, sal=torch.from_numpy(prob)[None].float()
                    ),
                )
            ],
        )
    got = metric.evaluate(5)
    classes = 4 if absent == 'zero' else 2
    assert got['semseg/mIoU'] == pytest.approx(100 * (1 / 2 + 2 / 3) / classes)
    expected = score(ForegroundF(compatible=compatible))
    assert got['sal/maxF'] == expected['maxF']
    assert ('sal/mIoU' in got) == overlap
    if overlap:
        assert got['sal/mIoU'] == score(ForegroundOverlap())['mIoU']


def test_presets_of_edges():
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


def test_protocols_are_checked():
    with pytest.raises(ValueError, match=r"protocol='pascal' is not allowed"):
        MultiTaskMetric(protocol='pascal')


def test_a_task_s_own_measures_go_before_a_protocol():
    own = [dict(type='ForegroundF', beta_square=1.0)]
    (task,) = build_tasks(dict(sal=dict(measures=own))).values()
    assert task.measure_cfgs('mtinet') == own


def predictions(number=7, seed=1):
    """Labels and predictions of tasks with classes, depth, normals."""
    rng = np.random.default_rng(seed)
    for i in range(number):
        shape = (24, 30 + i)
        semseg = rng.integers(0, 5, shape)
        guess = np.where(rng.random(shape) < 0.6, semseg, (semseg + 1) % 5)
        depth = rng.uniform(0.5, 8, shape).astype(np.float32)
        far = (depth + rng.normal(0, 0.4, shape)).astype(np.float32)
        normals = rng.normal(size=(2, 3, *shape)).astype(np.float32)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        hole = rng.random(shape) < 0.2
        semseg[hole], depth[hole], normals[0][:, hole] = 255, 0, 0
        yield dict(
            gt_maps=dict(
                semseg=torch.from_numpy(semseg.astype(np.uint8))[None],
                depth=torch.from_numpy(depth)[None],
                normals=torch.from_numpy(normals[0]),
            ),
            pred_maps=dict(
                semseg=torch.from_numpy(guess)[None],
                depth=torch.from_numpy(far)[None],
                normals=torch.from_numpy(normals[1]),
            ),
        )


THREE = dict(semseg=dict(num_classes=5), depth=dict(), normals=dict())


def evaluated(samples, size):
    metric = MultiTaskMetric(tasks=THREE)
    for sample in samples:
        metric.process(None, [sample])
    return metric.evaluate(size)


def pooled(task, known):
    pairs = [
        (s['pred_maps'][task].numpy(), s['gt_maps'][task].numpy())
        for s in predictions()
    ]
    pred = np.concatenate([p[:, known(t)] for p, t in pairs], 1)
    truth = np.concatenate([t[:, known(t)] for _, t in pairs], 1)
    return pred, truth


def test_against_scikit_learn_and_torchmetrics():
    got = evaluated(predictions(), 7)
    pred, truth = pooled('semseg', lambda t: t[0] != 255)
    assert got['semseg/mIoU'] == pytest.approx(
        100 * sklearn.jaccard_score(truth[0], pred[0], average='macro')
    )
    assert got['semseg/pixAcc'] == pytest.approx(
        100 * sklearn.accuracy_score(truth[0], pred[0])
    )
    assert got['semseg/mIoU'] == pytest.approx(
        100
        * torchmetrics.functional.jaccard_index(
            torch.from_numpy(pred[0]),
            torch.from_numpy(truth[0]),
            task='multiclass',
            num_classes=5,
        ).item(),
        rel=1e-5,
    )
    pred, truth = pooled('depth', lambda t: t[0] > 0)
    pred, truth = pred[0].astype(np.float64), truth[0].astype(np.float64)
    assert got['depth/RMSE'] == pytest.approx(
        sklearn.root_mean_squared_error(truth, pred)
    )
    assert got['depth/absErr'] == pytest.approx(
        sklearn.mean_absolute_error(truth, pred)
    )
    assert got['depth/relErr'] == pytest.approx(
        sklearn.mean_absolute_percentage_error(truth, pred)
    )
    pred, truth = pooled('normals', lambda t: (t != 0).any(0))
    cosine = torchmetrics.functional.cosine_similarity(
        torch.from_numpy(pred).T.double(),
        torch.from_numpy(truth).T.double(),
        reduction='none',
    )
    angle = np.degrees(np.arccos(cosine.numpy()))
    assert got['normals/mErr'] == pytest.approx(angle.mean(), rel=1e-6)
