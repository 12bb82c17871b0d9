"""From logits to predictions, back from a changed view, and to a score."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmprotomtl.tasks import build_tasks
from mmprotomtl.testing import TASKS

GEN = torch.Generator().manual_seed(3)


@pytest.fixture
def tasks():
    return build_tasks(TASKS)


def logits_of(task):
    return torch.randn(2, task.out_channels, 3, 4, generator=GEN)


def test_channels(tasks):
    assert {name: task.out_channels for name, task in tasks.items()} == dict(
        semseg=7, human_parts=7, sal=2, normals=3, edge=1, depth=1
    )


def test_predictions(tasks):
    logits = {name: logits_of(task) for name, task in tasks.items()}
    found = {name: tasks[name].predict(logits[name]) for name in tasks}
    for name in ('semseg', 'human_parts'):
        likeliest = logits[name].numpy().argmax(1)[:, None]
        assert np.array_equal(found[name].numpy(), likeliest)
    two = logits['sal']
    assert found['sal'].shape == (2, 1, 3, 4)
    expected = 1 / (1 + (two[:, :1] - two[:, 1:]).exp())
    assert torch.allclose(found['sal'], expected)
    assert torch.allclose(found['edge'], 1 / (1 + (-logits['edge']).exp()))
    assert torch.equal(found['depth'], logits['depth'].clip(0))
    vector = logits['normals']
    length = vector.square().sum(1, keepdim=True).sqrt()
    assert torch.allclose(found['normals'], vector / length)


def test_a_class_of_nan_is_none(tasks):
    logits = torch.zeros(2, 7, 1, 3)
    logits[:, 4] = 1
    logits[0, 5, 0, 1] = float('nan')
    found = tasks['semseg'].predict(logits)
    assert found.tolist() == [[[[4, -1, 4]]], [[[4, 4, 4]]]]


@pytest.mark.parametrize('flip', [None, 'horizontal', 'vertical', 'diagonal'])
@pytest.mark.parametrize('scale', [0.5, 1, 2])
def test_a_view_is_taken_back(tasks, flip, scale):
    """What a mirrored, zoomed view says of a value, said of the original."""
    for name in ('semseg', 'human_parts', 'sal', 'edge'):
        logits = logits_of(tasks[name])
        assert torch.equal(tasks[name].undo_view(logits, flip, scale), logits)
    depth = logits_of(tasks['depth'])
    # Twice as large looks half as far.
    undone = tasks['depth'].undo_view(depth, flip, scale)
    assert torch.allclose(undone, depth * scale)
    near = build_tasks(dict(depth=dict(unit='disparity')))['depth']
    assert torch.allclose(near.undo_view(depth, flip, scale), depth / scale)
    vector = logits_of(tasks['normals'])
    undone = tasks['normals'].undo_view(vector, flip, scale)
    unit = vector / vector.norm(dim=1, keepdim=True)
    mirrored = dict(horizontal=(0,), vertical=(1,), diagonal=(0, 1))
    for axis in mirrored.get(flip, ()):
        unit[:, axis] *= -1
    assert torch.allclose(undone, unit, atol=1e-6)


def test_what_a_label_means():
    def meaning(name, **args):
        return build_tasks({name: args})[name].meaning()

    named = meaning('semseg', num_classes=2, classes=['a', 'b'])
    assert named['classes'] == ('a', 'b') and named['num_classes'] == 2
    unnamed = meaning('semseg', num_classes=2)
    assert unnamed['classes'] is None
    assert meaning('depth') == dict(type='DepthTask', unit='metres')
    assert meaning('depth', loss_weight=3) == meaning('depth')
    assert meaning('depth', unit='disparity')['unit'] == 'disparity'
    parts = meaning('human_parts')['classes']
    assert parts[0] == 'background' and len(parts) == 7
    assert meaning('human_parts', num_classes=5)['classes'] is None


@pytest.mark.parametrize(
    ('protocol', 'thresholds', 'nms'),
    [
        ('default', 99, False),
        ('astmt', 99, True),
        ('mtinet', 99, False),
        ('invpt', 101, True),
    ],
)
def test_how_edges_are_scored(protocol, thresholds, nms):
    task = build_tasks(dict(edge=dict(protocol=protocol, max_dist=0.01)))
    (default,) = task['edge'].measure_cfgs()
    assert default == dict(
        type='BoundaryF', max_dist=0.01, num_thresholds=thresholds, nms=nms
    )
    own = dict(protocol=protocol, num_thresholds=5)
    (own,) = build_tasks(dict(edge=own))['edge'].measure_cfgs()
    assert own == dict(default, max_dist=0.0075, num_thresholds=5)
    # The protocols of a whole run go before the task's own.
    (run,) = task['edge'].measure_cfgs('invpt')
    assert (run['num_thresholds'], run['nms']) == (101, True)


def test_how_saliency_is_scored():
    task = build_tasks(dict(sal={}))['sal']
    overlap = dict(type='ForegroundOverlap')
    assert task.measure_cfgs() == [dict(type='ForegroundF')]
    for protocol in ('mtinet', 'mtpsl'):
        assert task.measure_cfgs(protocol) == [
            dict(type='ForegroundF'), overlap,
        ]  # fmt: skip
    twice = dict(type='ForegroundF', compatible=True)
    assert task.measure_cfgs('invpt') == [twice]
    standing = build_tasks(dict(sal=dict(metric='mIoU')))['sal']
    assert standing.measure_cfgs() == [dict(type='ForegroundF'), overlap]
    assert standing.measure_cfgs('invpt') == [twice, overlap]


@pytest.mark.parametrize(
    ('protocol', 'absent'),
    [('mtinet', 'zero'), ('invpt', 'zero'), ('mtpsl', 'ignore')],
)
def test_how_absent_classes_are_scored(tasks, protocol, absent):
    (cfg,) = tasks['semseg'].measure_cfgs(protocol)
    assert cfg['absent'] == absent and cfg['num_classes'] == 7


def test_measures_of_a_config_go_first():
    own = [dict(type='RegressionError')]
    task = build_tasks(dict(depth=dict(measures=own)))['depth']
    assert task.measure_cfgs() == task.measure_cfgs('invpt') == own
    with pytest.raises(ValueError, match='protocol'):
        task.measure_cfgs('mine')


def test_saved_predictions(tasks, tmp_path):
    stem = str(tmp_path / 'x')
    ids = np.array([[[0, 3], [6, 1]]])
    file = tasks['semseg'].save(ids, stem)
    assert file == stem + '.png'
    assert np.asarray(Image.open(file)).tolist() == ids[0].tolist()
    share = np.array([[[0, 0.5, 1, 0.2]]], np.float32)
    file = tasks['sal'].save(share, stem)
    assert np.asarray(Image.open(file)).tolist() == [[0, 128, 255, 51]]
    vectors = np.random.default_rng(0).normal(size=(3, 2, 2))
    file = tasks['normals'].save(vectors, stem)
    assert file == stem + '.npy'
    loaded = np.load(file)
    assert loaded.dtype == np.float32
    assert np.allclose(loaded, vectors)
