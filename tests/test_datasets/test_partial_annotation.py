"""The label mask as a setting of the data set and as a step."""

import pickle
from functools import partial

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


class Own:
    """A user's wrapper, of no base class, with names of its own."""

    def __init__(self, inner):
        self.steps = dict(first=inner)

    def __call__(self, results):
        return self.steps['first'](results)


GLOBAL = PartialAnnotation(protocol='one-label')


@pytest.mark.parametrize(
    'wrapper',
    [
        lambda step: lambda results: step(results),
        lambda step: lambda results, inner=step: inner(results),
        lambda step: partial(lambda inner, results: inner(results), step),
        lambda step: partial(step),
        lambda step: step.transform,
        lambda step: lambda results: GLOBAL(results),
        lambda step: Own(step),
        lambda step: Own(STEP),
        lambda step: Own(Own(dict(STEP, type='mmprotomtl.PartialAnnotation'))),
        lambda step: partial(Own(step).__call__),
    ],
)
def test_a_mask_in_something_of_the_user_is_refused(wrapper):
    """Before a label is read; as a config, too, that is built later."""
    step = PartialAnnotation(protocol='one-label')
    with pytest.raises(ValueError, match='PartialAnnotation.* is inside'):
        scenes(pipeline=[*LOAD, wrapper(step)])


def test_a_mask_that_is_put_in_later_is_refused():
    data = scenes(pipeline=LOAD)
    data.pipeline.transforms.append(PartialAnnotation(protocol='one-label'))
    with pytest.raises(RuntimeError, match="protocol='one-label', seed=0"):
        data[0]


def drop_loaded(results):
    results['gt_maps'].pop('depth')
    return results


def drop_path(results):
    results['labels'].pop('depth')
    return results


def drop_packed(results):
    results['data_samples'].gt_maps.pop('depth')
    return results


@pytest.mark.parametrize('part', ['loaded', 'path', 'packed'])
@pytest.mark.parametrize('mask', [None, 'full'])
def test_labels_that_a_transform_drops_are_refused(part, mask):
    pack = dict(type='PackMultiTaskInputs')
    pipeline = dict(
        loaded=[*LOAD, drop_loaded, pack],
        path=[drop_path, *LOAD, pack],
        packed=[*LOAD, pack, drop_packed],
    )[part]
    data = scenes(pipeline=pipeline, partial_labels=mask)
    with pytest.raises(
        RuntimeError,
        match="image '3': transforms .* have removed the label of depth, so",
    ):
        data[3]


def test_labels_that_a_transform_adds():
    """A label that is computed, refused where the mask hides it."""

    def derive(results):
        results['gt_maps']['depth'] = np.ones((8, 8), np.float32)
        return results

    given = dict(pipeline=[*LOAD, derive])
    data = scenes(partial_labels='one-label', **given)
    of_depth = [row == ('depth',) for row in data.label_mask.labelled.values()]
    assert 0 < sum(of_depth) < len(of_depth)
    assert set(data[of_depth.index(True)]['gt_maps']) == {'depth'}
    with pytest.raises(RuntimeError, match='added the label of depth'):
        data[of_depth.index(False)]

    class Without(SyntheticScenesDataset):
        def load_data_list(self):
            infos = super().load_data_list()
            for info in infos:
                del info['labels']['depth']
            return infos

    data = Without(num_scenes=1, size=(8, 8), **given)
    assert 'depth' in data[0]['gt_maps']


def test_pictures_without_labels_are_no_contradiction():
    assert 'gt_maps' not in scenes(pipeline=LOAD[:1])[0]
    assert scenes(pipeline=[lambda results: 'of another kind'])[0]


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
