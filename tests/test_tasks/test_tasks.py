import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmprotomtl.tasks import apply_value_map, build_tasks
from mmprotomtl.testing import TASKS
from mmprotomtl.utils.errors import DataFileError


@pytest.fixture
def tasks():
    return build_tasks(TASKS)


def scene_labels(size=(48, 64)):
    from mmprotomtl.datasets import SyntheticScenesDataset

    dataset = SyntheticScenesDataset(
        size=size,
        num_scenes=2,
        pipeline=[
            dict(type='LoadMultiTaskImage'),
            dict(type='LoadMultiTaskAnnotations'),
        ],
    )
    return dataset[0]['gt_maps']


def batched(label):
    label = label[..., None] if label.ndim == 2 else label
    return torch.from_numpy(label.transpose(2, 0, 1).copy())[None]


@pytest.mark.parametrize('name', TASKS)
def test_a_task_declares_what_every_stage_asks(tasks, name):
    task = tasks[name]
    label = scene_labels()[name]
    assert label.dtype == task.label_dtype
    assert task.check_label(label, 'x').shape == label.shape
    small = task.resize_label(label, (24, 32))
    assert small.shape[:2] == (24, 32)
    tensor = batched(label)
    assert task.valid(tensor).shape == (1, 48, 64)
    logits = torch.randn(1, task.out_channels, 48, 64)
    loss, count = task.loss(logits, tensor)
    assert loss.shape == count.shape == (1,)
    pred = task.predict(logits)
    for value in (tensor[0].numpy(), pred[0].numpy()):
        picture = task.draw(value)
        assert picture.shape == (48, 64, 3)
        assert picture.dtype == np.uint8
        assert picture.std() > 0
    assert task.standing_metric in task.metric_directions
    assert task.measure_cfgs()


@pytest.mark.parametrize('name', TASKS)
def test_a_label_of_a_wrong_shape_names_the_file(tasks, name):
    channels = tasks[name].label_channels
    wrong = np.zeros((4, 4, 5 - channels), np.float32)
    with pytest.raises(DataFileError, match=rf'a/b\.npy: shape .*{name}'):
        tasks[name].check_label(wrong, 'a/b.npy')


def test_classes_out_of_range_are_refused(tasks):
    label = np.zeros((4, 4), np.uint8)
    label[0, 0] = 7
    with pytest.raises(DataFileError, match=r'f\.png.*\[7\].*0 \.\. 6'):
        tasks['semseg'].check_label(label, 'f.png')
    for value in (-1.0, 0.5, np.nan, np.inf):
        with pytest.raises(DataFileError):
            tasks['semseg'].check_label(np.full((2, 2), value), 'f.npy')
    with pytest.raises(DataFileError, match=r'\[7\]'):
        tasks['edge'].check_label(label, 'f.png')
    label[0, 0] = 255
    assert tasks['semseg'].check_label(label, 'f.png')[0, 0] == 255


def test_impossible_depth_and_normals_are_unknown(tasks):
    depth = np.array([[1.5, np.nan], [np.inf, -2]])
    checked = tasks['depth'].check_label(depth, 'x')
    assert checked.tolist() == [[1.5, 0], [0, 0]]
    normals = np.zeros((1, 3, 3))
    normals[0, 0] = (0, 0, -2)
    normals[0, 1] = (np.nan, 0, 1)
    checked = tasks['normals'].check_label(normals, 'x')
    assert checked[0, 0].tolist() == [0, 0, -1]
    assert checked[0, 2].tolist() == [0, 0, 0]
    valid = tasks['normals'].valid(batched(checked))
    assert valid.tolist() == [[[True, True, False]]]


def test_human_parts_without_a_person_are_no_label(tasks):
    task = tasks['human_parts']
    label = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    label[1, 0, 0, 0] = 3
    label[1, 0, 3, 3] = 255
    valid = task.valid(label)
    assert valid.flatten(1).sum(1).tolist() == [0, 15]
    loss, count = task.loss(torch.randn(2, 7, 4, 4), label)
    assert loss[0] == 0
    assert count.tolist() == [0, 15]


def test_losses_against_plain_formulas(tasks):
    torch.manual_seed(1)
    size = (1, 8, 8)
    valid = torch.rand(size) > 0.3

    def mean(value):
        return value[valid].mean().item()

    logits = torch.randn(1, 7, 8, 8)
    label = torch.randint(7, size)
    expected = mean(-logits.log_softmax(1).gather(1, label[:, None])[:, 0])
    label = label.masked_fill(~valid, 255)[:, None].byte()
    assert tasks['semseg'].loss(logits, label)[0].item() == pytest.approx(
        expected
    )

    binary = torch.randint(2, size)
    stored = binary.masked_fill(~valid, 255)[:, None].byte()
    prob = torch.rand(1, 8, 8)
    log = binary * prob.log() * 0.95 + (1 - binary) * (1 - prob).log() * 0.05
    got = tasks['edge'].loss(torch.logit(prob)[:, None], stored)[0]
    assert got.item() == pytest.approx(mean(-log), rel=1e-4)

    two = torch.randn(1, 2, 8, 8)
    share = binary[valid].float().mean()
    weight = torch.where(binary == 1, 1 - share, share)
    log = two.log_softmax(1).gather(1, binary[:, None])[:, 0]
    got = tasks['sal'].loss(two, stored)[0]
    assert got.item() == pytest.approx(mean(-weight * log), rel=1e-4)

    depth = torch.rand(1, 1, 8, 8) + 0.5
    guess = torch.randn(1, 1, 8, 8)
    got = tasks['depth'].loss(guess, depth * valid[:, None])[0]
    assert got.item() == pytest.approx(mean((guess - depth).abs()[:, 0]))

    normals = F.normalize(torch.randn(1, 3, 8, 8), dim=1)
    guess = torch.randn(1, 3, 8, 8)
    error = (guess / guess.norm(dim=1, keepdim=True) - normals).abs().sum(1)
    got = tasks['normals'].loss(guess, normals * valid[:, None])[0]
    assert got.item() == pytest.approx(mean(error), rel=1e-4)


def test_default_weights_are_the_field_s(tasks):
    weights = {name: task.loss_weight for name, task in tasks.items()}
    assert weights == dict(
        semseg=1, human_parts=2, sal=5, normals=10, edge=50, depth=1
    )


def test_value_maps(tasks):
    normals = tasks['normals']
    vector = np.array([[[0.6, 0.48, -0.64]]], np.float32)

    def mapped(**change):
        return apply_value_map(vector, normals.value_map(**change))[0, 0]

    assert np.allclose(mapped(flip='horizontal'), [-0.6, 0.48, -0.64])
    assert np.allclose(mapped(flip='vertical'), [0.6, -0.48, -0.64])
    assert np.allclose(mapped(flip='diagonal'), [-0.6, -0.48, -0.64])
    # A quarter turn counter-clockwise takes right to up, and y points down.
    assert np.allclose(mapped(angle=90), [0.48, -0.6, -0.64], atol=1e-6)
    assert normals.value_map(scale=2) is None
    depth = tasks['depth']
    assert depth.value_map(scale=2) == 0.5
    assert depth.value_map(flip='horizontal') is None
    disparity = build_tasks(dict(depth=dict(unit='disparity')))['depth']
    assert disparity.value_map(scale=2) == 2
    for name in ('semseg', 'human_parts', 'sal', 'edge'):
        change = dict(flip='horizontal', angle=20, scale=2)
        assert tasks[name].value_map(**change) is None


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        ({}, 'at least one task'),
        (dict(flow=dict()), r"tasks\.flow\.type='flow'"),
        (dict(semseg=dict(num_classes=1)), r'semseg\.num_classes=1'),
        (dict(depth=dict(metric='mIoU')), r"depth\.metric='mIoU'"),
        (dict(edge=dict(positive_weight=2)), r'edge\.positive_weight=2'),
        (
            dict(semseg=dict(num_classes=3, classes=['a'])),
            r'semseg\.classes has 1 entries',
        ),
    ],
)
def test_bad_settings_are_named(cfg, message):
    with pytest.raises(ValueError, match=message):
        build_tasks(cfg)


def test_a_second_task_of_a_kind():
    tasks = build_tasks(
        dict(rooms=dict(type='semseg', num_classes=3), depth=None)
    )
    assert tasks['rooms'].out_channels == 3
    assert tasks['depth'].name == 'depth'
