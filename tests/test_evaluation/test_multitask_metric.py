import logging
from concurrent.futures import Future
from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing as mp

from mmprotomtl.boundary import thin
from mmprotomtl.evaluation import MultiTaskMetric
from mmprotomtl.evaluation.measures import (
    AngularError,
    BoundaryF,
    ClassOverlap,
    ForegroundF,
)
from mmprotomtl.evaluation.sums import ExactSum
from mmprotomtl.evaluation.workers import Workers
from mmprotomtl.tasks import build_tasks
from mmprotomtl.testing import TASKS, scene_batch
from mmprotomtl.utils.errors import DataFileError


def samples(number=6, seed=0, size=(40, 56)):
    """Labels of scenes, and predictions that are the labels made worse."""
    torch.manual_seed(seed)
    tasks = build_tasks(TASKS)
    result = []
    batch = scene_batch([list(TASKS)] * number, size=size, seed=seed)
    for i, sample in enumerate(batch['data_samples']):
        labels = dict(sample.gt_maps.items())
        preds = {}
        for name, task in tasks.items():
            logits = torch.randn(1, task.out_channels, *size)
            preds[name] = task.predict(logits)[0]
        preds['depth'] = labels['depth'] + torch.randn(size) * 0.3
        preds['sal'] = (labels['sal'] * 0.5 + torch.rand(size)).clamp(0, 1)
        labels['semseg'][:, :5] = 255
        labels['depth'][:, :5] = 0
        labels['normals'][:, :5] = 0
        if i == 2:
            labels.pop('depth')
        result.append(dict(gt_maps=labels, pred_maps=preds))
    return result


def scores(batches, size=6, **kwargs):
    metric = MultiTaskMetric(tasks=TASKS, **kwargs)
    for batch in batches:
        metric.process(None, batch)
    return metric.evaluate(size)


@pytest.mark.parametrize('protocol', ['default', 'mtinet'])
def test_values_do_not_depend_on_the_batches(protocol):
    data = samples()
    whole = scores([data], protocol=protocol)
    assert {key.split('/')[0] for key in whole} == set(TASKS)
    assert not np.isnan(list(whole.values())).any()
    for batches in (
        [[sample] for sample in data[::-1]],
        [data[4:], data[:1], data[1:4]],
    ):
        # Not in the last digit either.
        assert scores(batches, protocol=protocol) == whole


def _rank(rank, address, results):
    dist.init_process_group(
        'gloo', init_method=address, rank=rank, world_size=2
    )
    # The ranks have different images, and numbers of them.
    data = samples()
    share = data[1:3] if rank else data[:1] + data[3:]
    results.put(scores([share], protocol='mtinet'))
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_score_as_one(tmp_path):
    context = mp.get_context('spawn')
    results = context.SimpleQueue()
    mp.spawn(_rank, (f'file://{tmp_path}/meeting', results), nprocs=2)
    one = scores([samples()], protocol='mtinet')
    assert {key.split('/')[0] for key in one} == set(TASKS)
    for _ in range(2):
        assert results.get() == one


def test_workers_change_nothing():
    data = samples()
    metric = MultiTaskMetric(tasks=TASKS, workers=1)
    for _ in range(2):  # a second evaluation begins anew
        metric.process(None, data)
        assert metric.evaluate(6) == scores([data])
    with pytest.raises(ValueError, match='workers=-1 is not allowed'):
        MultiTaskMetric(workers=-1)


def test_what_waits_for_workers_is_bounded():
    """However slow they are."""

    class Instant:
        def submit(self, function, *args):
            submitted.append(0)
            future = Future()
            future.set_result(function(*args))
            return future

        def shutdown(self):
            submitted.append('end')

    submitted: list = []
    workers = Workers(2)
    workers._pool = Instant()
    total = ExactSum()
    label = torch.zeros(1, 9, 9)
    label[0, 4] = 1
    for number in range(1, 30):
        workers.submit(
            total, BoundaryF(num_thresholds=3), label, label, label[0] > -1
        )
        assert len(workers._waiting) <= 2 * Workers.WAITING
        assert len(submitted) == number
    workers.finish()
    assert submitted[-1] == 'end'
    assert ExactSum.total([total.parts]).tolist() == [29 * 9.0] * 16


def test_sums_are_exact_in_any_order():
    rng = np.random.default_rng(0)
    size = 10.0 ** rng.integers(-12, 14, (400, 3))
    values = rng.normal(size=(400, 3)) * size
    values[7] = -values[:7].sum(0)
    exact = [float(sum(map(Fraction, column))) for column in values.T]
    for order in (range(400), rng.permutation(400)):
        first, second = ExactSum(), ExactSum()
        for place, i in enumerate(order):
            (first if place % 3 else second).add(values[i])
        total = ExactSum.total([second.parts, first.parts])
        assert total.tolist() == exact
    assert values.sum(0).tolist() != exact
    first.add(np.array([np.inf, np.nan, 1]))
    total = ExactSum.total([first.parts])
    assert np.isnan(total).tolist() == [True, True, False]


def named(data):
    for i, sample in enumerate(data):
        sample['sample_id'] = f'img_{i}'
    return data


def test_only_the_images_of_a_list_are_scored(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(
        'mmprotomtl.evaluation.multitask_metric.print_log',
        lambda text, **_: told.append(text),
    )
    file = tmp_path / 'edges.txt'
    file.write_text('img_4\nimg_1\n')
    lists = dict(edge=str(file))
    data = named(samples())
    got = scores([data], image_lists=lists)
    some, whole = scores([data[1:2] + data[4:5]]), scores([data])
    for key, value in got.items():
        assert value == (some if key.startswith('edge/') else whole)[key]
    assert some['edge/odsF'] != whole['edge/odsF']
    assert not any('image_lists' in text for text in told)
    # What is not there is told, and nothing is no score.
    file.write_text('img_1\nother\n')
    got = scores([data], image_lists=lists)
    assert got['edge/odsF'] == scores([data[1:2]])['edge/odsF']
    assert 'image_lists.edge: 1 of its 2 images are among the 6' in str(told)
    file.write_text('other\n')
    assert np.isnan(scores([data], image_lists=lists)['edge/odsF'])
    assert "no label of task 'edge'" in told[-2]


def test_lists_are_checked(tmp_path):
    file = tmp_path / 'edges.txt'
    with pytest.raises(DataFileError, match='no such list of ids'):
        MultiTaskMetric(image_lists=dict(edge=str(file)))
    file.write_text('a\n')
    with pytest.raises(ValueError, match='needs the name of each image'):
        scores([samples(1)], 1, image_lists=dict(edge=str(file)))
    with pytest.raises(ValueError, match="image_lists='edges' is not allowed"):
        scores([samples(1)], 1, image_lists=dict(edges=str(file)))


def test_how_tasks_are_scored_is_told(tmp_path):
    file = tmp_path / 'edges.txt'
    file.write_text('b\na\n')
    lists = dict(edge=str(file))
    told = MultiTaskMetric(
        tasks=TASKS, protocol='invpt', image_lists=lists
    ).scoring()
    assert told['sal'] == dict(
        measures=[dict(type='ForegroundF', compatible=True)], image_list=None
    )
    assert told['edge']['measures'][0]['nms'] is True
    # The hash of the ids, whatever their order.
    assert told['edge']['image_list'] == sha256(b'a\nb').hexdigest()


def test_scores_against_an_independent_computation():
    data = samples()
    got = scores([data[:4], data[4:]])

    def pooled(task, mask):
        pairs = [
            (d['pred_maps'][task].numpy(), d['gt_maps'][task].numpy())
            for d in data
            if task in d['gt_maps']
        ]
        keep = [mask(label) for _, label in pairs]
        pred = np.concatenate(
            [p[:, k] for (p, _), k in zip(pairs, keep, strict=True)], 1
        )
        truth = np.concatenate(
            [t[:, k] for (_, t), k in zip(pairs, keep, strict=True)], 1
        )
        return pred.astype(np.float64), truth.astype(np.float64)

    pred, truth = pooled('semseg', lambda t: t[0] != 255)
    ious = []
    for c in range(7):
        union = ((pred == c) | (truth == c)).sum()
        if union:
            ious.append(((pred == c) & (truth == c)).sum() / union)
    assert got['semseg/mIoU'] == pytest.approx(100 * np.mean(ious))
    assert got['semseg/pixAcc'] == pytest.approx(100 * (pred == truth).mean())

    pred, truth = pooled('depth', lambda t: t[0] > 0)
    assert got['depth/RMSE'] == pytest.approx(
        np.sqrt(((pred - truth) ** 2).mean())
    )
    error = np.abs(pred - truth)
    assert got['depth/absErr'] == pytest.approx(error.mean())
    assert got['depth/relErr'] == pytest.approx((error / truth).mean())

    pred, truth = pooled('normals', lambda t: (t != 0).any(0))
    angle = np.degrees(np.arccos((pred * truth).sum(0).clip(-1, 1)))
    assert got['normals/mErr'] == pytest.approx(angle.mean(), rel=1e-6)
    assert got['normals/rmse'] == pytest.approx(
        np.sqrt((angle**2).mean()), rel=1e-6
    )
    assert got['normals/within_22.5'] == pytest.approx(
        100 * (angle < 22.5).mean()
    )

    pred, truth = pooled('sal', lambda t: t[0] != 255)
    best = 0
    for k in range(1, 20):
        guess = pred >= np.float32(k / 20)
        hit = (guess & (truth == 1)).sum()
        if hit:
            p, r = hit / guess.sum(), hit / (truth == 1).sum()
            best = max(best, 1.3 * p * r / (0.3 * p + r))
    assert got['sal/maxF'] == pytest.approx(100 * best)
    assert got['sal/MAE'] == pytest.approx(np.abs(pred - truth).mean())

    with_people = [d for d in data if (d['gt_maps']['human_parts'] > 0).any()]
    assert len(with_people) > 0
    again = scores([with_people], 6)
    assert got['human_parts/mIoU'] == again['human_parts/mIoU']


def test_perfect_predictions():
    data = samples()
    for sample in data:
        # The benchmark thins predictions, not labels.
        edge = sample['gt_maps']['edge']
        thinned = torch.from_numpy(thin(edge[0].numpy() == 1))
        sample['gt_maps']['edge'] = thinned[None].to(edge.dtype)
        sample['pred_maps'] = {
            name: label.float() if name in ('edge', 'sal') else label
            for name, label in sample['gt_maps'].items()
        }
    got = scores([data])
    for key in ('semseg/mIoU', 'human_parts/mIoU', 'sal/maxF', 'edge/odsF'):
        assert got[key] == pytest.approx(100), key
    for key in ('normals/mErr', 'depth/RMSE', 'sal/MAE'):
        assert got[key] == pytest.approx(0, abs=1e-3), key


def test_no_label_is_no_score(monkeypatch):
    told = []
    monkeypatch.setattr(
        'mmprotomtl.evaluation.multitask_metric.print_log',
        lambda text, level=0, **_: told.append((level, text)),
    )
    data = samples()
    for sample in data:
        sample['gt_maps'].pop('edge')
        sample['gt_maps']['human_parts'] *= 0
        sample['gt_maps']['depth'] = torch.zeros(1, 40, 56)
        sample['gt_maps']['sal'] *= 0
    got = scores([data])
    for key, why in (
        ('edge/odsF', "no label of task 'edge'"),
        ('human_parts/mIoU', "no pixel that counts of task 'human_parts'"),
        ('depth/RMSE', "no pixel that counts of task 'depth'"),
        ('sal/maxF', "no pixel that counts of task 'sal'"),
    ):
        assert np.isnan(got[key]), key
        (line,) = (text for text in told if why in text[1])
        assert line[0] == logging.WARNING
        assert key.split('/')[1] in line[1]
    assert len(told) == 4 + 1  # and the table
    assert got['semseg/mIoU'] > 0
    assert got['sal/MAE'] > 0
    # A network that broke down is no lack of data.
    data = samples(1)
    data[0]['pred_maps']['depth'][0, 9, 9] = np.inf
    assert np.isnan(scores([data])['depth/RMSE'])
    assert "infinite or NaN predictions of task 'depth'" in str(told)


def test_images_that_come_twice_are_refused():
    with pytest.raises(ValueError, match='round_up=False'):
        scores([samples()], size=5)


def test_the_tasks_can_come_from_the_data_set():
    metric = MultiTaskMetric()
    with pytest.raises(ValueError, match='does not know the tasks'):
        metric.process(None, samples(1))
    metric.dataset_meta = dict(tasks=dict(depth=dict()))
    metric.process(None, samples(1))
    assert set(metric.evaluate(1)) == {
        'depth/RMSE', 'depth/absErr', 'depth/relErr',
    }  # fmt: skip


def test_absent_classes():
    pred = torch.tensor([[[0, 1], [1, 1]]])
    label = torch.tensor([[[0, 0], [1, 1]]])
    valid = torch.ones(2, 2).bool()
    for absent, expected in (('ignore', 2), ('zero', 4)):
        measure = ClassOverlap(4, absent=absent)
        total = measure.statistics(pred, label, valid).numpy()
        assert measure.compute(total)['mIoU'] == pytest.approx(
            100 * (1 / 2 + 2 / 3) / expected
        )


def test_small_angles_keep_their_accuracy():
    angle = np.radians(1e-3)
    pred = torch.tensor([[[np.sin(angle)]], [[0.0]], [[np.cos(angle)]]])
    label = torch.tensor([[[0.0]], [[0.0]], [[1.0]]])
    measure = AngularError()
    total = measure.statistics(pred, label, torch.ones(1, 1).bool())
    assert measure.compute(total.numpy())['mErr'] == pytest.approx(1e-3)


def test_edges_may_be_a_little_off():
    label = torch.zeros(1, 100, 100)
    label[0, 50, 20:80] = 1
    valid = torch.ones(100, 100).bool()
    for shift, expected in ((0, 100), (1, 100), (5, 0)):
        pred = label.roll(shift, 1)
        measure = BoundaryF(max_dist=0.0075)  # 1.06 pixels
        total = measure.statistics(pred, label, valid).numpy()
        assert measure.compute(total)['odsF'] == pytest.approx(expected)


def test_saliency_without_a_foreground_has_no_f():
    measure = ForegroundF()
    total = measure.statistics(
        torch.rand(1, 4, 4), torch.zeros(1, 4, 4), torch.ones(4, 4).bool()
    )
    assert np.isnan(measure.compute(total.numpy())['maxF'])
