"""The label mask as a setting of the data set and as a step."""

import pickle

import numpy as np
import pytest
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

from mmprotomtl.datasets import SyntheticScenesDataset
from mmprotomtl.datasets.transforms import PartialAnnotation
from mmprotomtl.datasets.transforms.partial_annotation import is_step
from mmprotomtl.label_masks import PartialLabels, write_label_mask

LOAD = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
]
STEP = dict(type='PartialAnnotation', protocol='one-label', seed=2)


def scenes(**kwargs):
    kwargs.setdefault('tasks', dict(sal={}, depth={}, edge={}))
    # Quicker: mmengine collects garbage where it serialises.
    kwargs.setdefault('serialize_data', False)
    return SyntheticScenesDataset(size=(8, 8), num_scenes=9, **kwargs)


def labels(data):
    return [set(data.get_data_info(i)['labels']) for i in range(len(data))]


@pytest.mark.parametrize(
    'pipeline',
    [
        [STEP, *LOAD],
        [*LOAD, STEP],
        [dict(STEP, type='mmprotomtl.PartialAnnotation'), *LOAD],
        [*LOAD, dict(STEP, type=PartialAnnotation)],
        [*LOAD, PartialAnnotation(protocol='one-label', seed=2)],
    ],
)
def test_a_step_is_the_setting(pipeline):
    """Wherever it stands, and however it is written."""
    expected = scenes(partial_labels=dict(protocol='one-label', seed=2))
    data = scenes(pipeline=pipeline)
    assert data.label_mask.sha256 == expected.label_mask.sha256
    assert data.metainfo['label_mask'] == expected.metainfo['label_mask']
    assert labels(data) == labels(expected)
    assert labels(data) == [
        set(row) for row in data.label_mask.labelled.values()
    ]
    assert all(len(row) == 1 for row in labels(data))
    # The step is gone: nothing after it has to know of it.
    assert len(data.pipeline.transforms) == 2
    assert set(data[4]['gt_maps']) == labels(data)[4]


def test_no_path_of_a_hidden_label_is_in_the_list():
    data = scenes(partial_labels='one-label', serialize_data=True)
    stored = pickle.loads(data.data_bytes[: data.data_address[0]].tobytes())
    (task,) = data.label_mask.labelled['0']
    assert list(stored['labels']) == [task]
    text = data.data_bytes.tobytes()
    whole = scenes(serialize_data=True).data_bytes.tobytes()
    for task in ('sal', 'depth', 'edge'):
        name = SyntheticScenesDataset.IMAGES[task].encode()
        assert text.count(name) < whole.count(name)


def test_without_a_mask():
    data = scenes()
    assert data.label_mask is None and 'label_mask' not in data.metainfo
    assert labels(data) == [{'sal', 'depth', 'edge'}] * 9


def test_two_masks_are_refused():
    for kwargs in (
        dict(pipeline=[STEP, *LOAD, dict(STEP, seed=3)]),
        dict(pipeline=[STEP, *LOAD], partial_labels='full'),
    ):
        with pytest.raises(ValueError, match='has 2 label masks.*seed=2'):
            scenes(**kwargs)


@pytest.mark.parametrize(
    'wrapper',
    [
        lambda: dict(type='RandomApply', transforms=[STEP]),
        lambda: dict(type='RandomApply', transforms=STEP),
        lambda: dict(type='RandomChoice', transforms=[[LOAD[0]], [STEP]]),
        lambda: dict(
            type='KeyMapper',
            mapping=dict(labels='labels'),
            transforms=[dict(type='RandomApply', transforms=[STEP])],
        ),
        lambda: dict(type='TestTimeAug', transforms=[[STEP], [LOAD[0]]]),
        lambda: Compose([PartialAnnotation(protocol='full')]),
    ],
)
def test_a_mask_inside_another_transform_is_refused(wrapper):
    with (
        DefaultScope.overwrite_default_scope('mmprotomtl'),
        pytest.raises(ValueError, match='PartialAnnotation.* is inside'),
    ):
        scenes(pipeline=[*LOAD, wrapper()])


def test_a_mask_out_of_sight_reads_no_hidden_label():
    step = PartialAnnotation(protocol='one-label')
    data = scenes(pipeline=[*LOAD, lambda results: step(results)])
    with pytest.raises(RuntimeError, match='hides no labels by itself'):
        data[0]
    data = scenes(pipeline=LOAD)
    data.pipeline.transforms.append(step)
    with pytest.raises(RuntimeError, match="protocol='one-label', seed=0"):
        data[0]


def test_the_settings_are_those_of_partial_labels():
    step = PartialAnnotation(protocol='ratio', ratio=0.5, tasks=['sal'])
    assert isinstance(step.partial_labels, PartialLabels)
    assert step.partial_labels.options == dict(ratio=0.5)
    assert repr(step) == (
        "PartialAnnotation(protocol='ratio', seed=0, tasks=['sal'], ratio=0.5)"
    )
    with pytest.raises(ValueError, match='give one of the two'):
        PartialAnnotation()


def test_the_ratio_is_kept():
    """The mask that is reported is that of the labels that are read."""
    data = SyntheticScenesDataset(
        num_scenes=400,
        tasks=dict(sal={}, depth={}),
        partial_labels=dict(protocol='ratio', ratio=0.25, seed=7),
    )
    seen = {
        name: sum(name in row for row in labels(data))
        for name in ('depth', 'sal')
    }
    assert data.metainfo['label_mask']['labels'] == seen
    assert 75 < seen['sal'] < 125 and 75 < seen['depth'] < 125
    # By the task's own numbers, as the protocol says.
    drawn = np.random.default_rng([7, *b'depth']).random(400) < 0.25
    assert seen['depth'] == drawn.sum()


def test_is_step():
    assert is_step(STEP, PartialAnnotation)
    assert is_step(dict(type=PartialAnnotation), PartialAnnotation)
    assert is_step(PartialAnnotation(protocol='full'), PartialAnnotation)
    assert not is_step(LOAD[0], PartialAnnotation)
    assert not is_step(dict(type='no such transform'), PartialAnnotation)


def test_a_mask_that_names_labels_that_are_not_there(tmp_path):
    class Without(SyntheticScenesDataset):
        def has_label(self, sample_id, task):
            return task != 'edge'

    path = tmp_path / 'mask.json'
    write_label_mask(path, scenes(partial_labels='full').label_mask)
    with pytest.raises(ValueError, match='9 labels that it lists do not'):
        Without(
            size=(8, 8), num_scenes=9, partial_labels=str(path),
            tasks=dict(sal={}, depth={}, edge={}),
        )  # fmt: skip
