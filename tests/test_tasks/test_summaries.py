"""What ``check_dataset.py`` is told of a data set's labels, task by task."""

import numpy as np
import pytest

from mmprotomtl.tasks import build_tasks


def task_of(name, **args):
    return build_tasks({name: args})[name]


def summary(task, labels, raw=None):
    """The summary of canonical labels."""
    raw = labels if raw is None else raw
    pairs = zip(labels, raw, strict=True)
    return task.summarise([task.describe(*pair) for pair in pairs])


def test_the_share_of_valid_pixels_is_over_all_images():
    task = task_of('sal')
    first = np.full((2, 3), 255, np.uint8)
    second = np.zeros((5, 7), np.uint8)
    first[0, 1] = 1
    described = [task.describe(label, label) for label in (first, second)]
    assert [(d['valid'], d['pixels']) for d in described] == [(1, 6), (35, 35)]
    assert task.summarise(described)['valid'] == 36 / 41
    assert task.summarise(described)['share'] == 1 / 36


def test_a_label_of_several_channels_counts_pixels():
    task = task_of('normals')
    label = np.zeros((2, 5, 3), np.float32)
    label[1, :4] = (0, 0.6, -0.8)
    described = task.describe(label, label * 2)
    assert (described['valid'], described['pixels']) == (4, 10)
    assert task.summarise([described])['mean_length'] == pytest.approx(2)


def test_shares_of_classes():
    task = task_of('semseg', num_classes=3, classes=['a', 'b', 'c'])
    label = np.array([[0, 0, 1, 255]], np.uint8)
    found = summary(task, [label, label, np.array([[1]], np.uint8)])
    assert found['share'] == dict(a=0.571429, b=0.428571, c=0)
    assert found['classes_seen'] == 2
    # A single pixel is a share of one; none is no error.
    found = summary(task, [np.array([[2]], np.uint8)])
    assert found['share'] == dict(a=0, b=0, c=1)
    found = summary(task, [np.full((2, 2), 255, np.uint8)])
    assert found['share'] == dict(a=0, b=0, c=0)
    assert found['classes_seen'] == found['valid'] == 0


@pytest.mark.parametrize(
    ('pixels', 'doubts'),
    [
        ([0, 1, 2], []),
        ([0, 1, 255], ['classes never seen: c']),
        ([1, 1, 255], ['all pixels are of one class']),
        ([255, 255], ['no pixel of any label is valid']),
    ],
)
def test_doubts_about_classes(pixels, doubts):
    task = task_of('semseg', num_classes=3, classes=['a', 'b', 'c'])
    found = summary(task, [np.array([pixels], np.uint8)])
    assert task.plausible(found) == doubts


def test_depth_is_summarised_by_its_known_values():
    task = task_of('depth')
    labels = [
        np.array([[0, 1, 2, 9]], np.float32),
        np.zeros((1, 4), np.float32),
        np.array([[0, 0, 0.5, 30]], np.float32),
        np.array([[4, 4, 4, 4]], np.float32),
    ]
    found = summary(task, labels)
    assert found == dict(
        valid=9 / 16, unit='metres', median=4, least=0.5, largest=30
    )
    nothing = summary(task, labels[1:2])
    assert nothing == dict(valid=0, unit='metres')
    assert task.plausible(nothing) == ['no pixel of any label is valid']


@pytest.mark.parametrize(
    ('unit', 'value', 'doubted'),
    [
        ('metres', 0.1, True),
        ('metres', 0.5, False),
        ('metres', 20, False),
        ('metres', 60, True),
        ('metres', 1500, True),
        ('disparity', 0.1, False),
        ('disparity', 90, False),
    ],
)
def test_depths_that_look_like_another_unit(unit, value, doubted):
    task = task_of('depth', unit=unit)
    found = summary(task, [np.full((2, 2), value, np.float32)])
    doubts = task.plausible(found)
    assert len(doubts) == doubted
    if doubted:
        assert f'the median is {value} metres' in doubts[0].replace(
            '1500', str(value)
        )


@pytest.mark.parametrize(
    ('length', 'doubted'), [(0.5, True), (0.95, False), (1.05, False), (2, 1)]
)
def test_normals_that_are_no_unit_vectors_on_disk(length, doubted):
    task = task_of('normals')
    label = np.zeros((2, 2, 3), np.float32)
    label[0] = (0, 0, -1)
    raw = label * length
    raw[1] = np.nan
    found = summary(task, [label], [raw])
    assert found['mean_length'] == pytest.approx(length)
    assert len(task.plausible(found)) == doubted
    # Without any vector there is one doubt, not two.
    found = summary(task, [label * 0])
    assert task.plausible(found) == ['no pixel of any label is valid']


@pytest.mark.parametrize(
    ('name', 'share', 'doubted'),
    [
        ('sal', 0, True),
        ('sal', 0.01, False),
        ('sal', 0.9, False),
        ('sal', 1, True),
        ('edge', 0, True),
        ('edge', 0.001, False),
        ('edge', 0.3, False),
        ('edge', 0.5, True),
    ],
)
def test_doubts_about_a_yes_or_no(name, share, doubted):
    task = task_of(name)
    label = np.zeros((40, 25), np.uint8)
    label.reshape(-1)[: round(share * label.size)] = 1
    found = summary(task, [label])
    assert found['share'] == pytest.approx(share)
    assert len(task.plausible(found)) == doubted


def test_the_share_of_the_commonest_class():
    label = np.array([[0, 0, 1, 2, 255, 255, 255]], np.uint8)
    assert task_of('semseg', num_classes=3).largest_share(label) == 0.5
    assert task_of('semseg', num_classes=3).largest_share(label[:, 4:]) == 1
    for name in ('human_parts', 'sal', 'edge'):
        assert task_of(name).largest_share(label) is None
