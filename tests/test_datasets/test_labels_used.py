"""What is reported of the labels is what a pass over the data yields."""

import hashlib
import json

import mmengine.dataset
import pytest
import torch.utils.data
from mmengine.registry import DefaultScope
from mmengine.runner.runner import _SlicedDataset

from mmprotomtl.datasets import MultiTaskConcatDataset, SyntheticScenesDataset
from mmprotomtl.datasets.labels_used import label_facts
from mmprotomtl.registry import DATASETS

TASKS = dict(sal={}, depth={}, edge={})
PIPELINE = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
    dict(type='PackMultiTaskInputs'),
]


def scenes(seed=0, num_scenes=10, mask='random-label', **kwargs):
    kwargs.setdefault('tasks', TASKS)
    partial_labels = mask and dict(protocol=mask, seed=seed, tasks=[*TASKS])
    return SyntheticScenesDataset(
        size=(8, 8), num_scenes=num_scenes, pipeline=PIPELINE,
        partial_labels=partial_labels, serialize_data=False, seed=seed,
        **kwargs,
    )  # fmt: skip


def wrapped(kind, **settings):
    """One of ours, which a config gets by the name of mmengine's."""
    with DefaultScope.overwrite_default_scope('mmprotomtl'):
        return DATASETS.build(dict(type=kind, **settings))


class Balanced(SyntheticScenesDataset):
    @staticmethod
    def get_cat_ids(idx):
        return [idx % 3]


SMALL = dict(size=(8, 8), num_scenes=6, pipeline=PIPELINE, tasks=TASKS)
CASES = dict(
    plain=scenes,
    no_mask=lambda: scenes(mask=None),
    indices=lambda: scenes(indices=4),
    some_indices=lambda: scenes(indices=[7, 2, 3]),
    subset=lambda: scenes().get_subset([1, 8]),
    holdout=lambda: scenes(holdout=dict(fraction=0.3)),
    held_out=lambda: scenes(holdout=dict(fraction=0.3, part='val')),
    one_task=lambda: scenes(
        tasks=dict(depth={}), filter_cfg=dict(drop_unlabelled=True)
    ),
    all_of_it=lambda: scenes(
        tasks=dict(depth={}, sal={}), filter_cfg=dict(drop_unlabelled=True),
        holdout=dict(fraction=0.2), indices=5,
    ),
    repeat=lambda: wrapped('RepeatDataset', dataset=scenes(), times=2),
    balanced=lambda: wrapped(
        'ClassBalancedDataset', oversample_thr=0.5,
        dataset=Balanced(partial_labels='one-label', **SMALL),
    ),
    slice=lambda: _SlicedDataset(scenes(), 4),
    slice_of_two=lambda: _SlicedDataset(
        MultiTaskConcatDataset([scenes(), scenes(1)]), 13
    ),
    concat=lambda: MultiTaskConcatDataset(
        [scenes(indices=3), scenes(1, tasks=dict(sal={}))]
    ),
    repeat_of_two=lambda: wrapped(
        'RepeatDataset', times=2,
        dataset=dict(
            type='MultiTaskConcatDataset',
            datasets=[scenes(indices=3), scenes(1)],
        ),
    ),
    mmengine_concat=lambda: wrapped(
        'ConcatDataset', datasets=[scenes(indices=3), scenes(1)],
        ignore_keys=['label_mask'],
    ),
    torch_concat=lambda: torch.utils.data.ConcatDataset(
        [scenes(indices=3), scenes(1)]
    ),
    torch_subset=lambda: torch.utils.data.Subset(scenes(), [3, 4, 9]),
    subset_of_a_subset=lambda: _SlicedDataset(
        torch.utils.data.Subset(
            torch.utils.data.Subset(scenes(), [8, 4, 9, 1]), [3, 2, 0]
        ),
        2,
    ),
    subset_of_two=lambda: torch.utils.data.Subset(
        torch.utils.data.ConcatDataset([scenes(), scenes(1)]), [0, 12, 19]
    ),
)  # fmt: skip


@pytest.mark.parametrize('name', CASES)
def test_the_numbers_are_of_what_is_yielded(name):
    """By going through the samples, which are those of training."""
    data = CASES[name]()
    facts = label_facts(data)
    given = {}
    for i in range(len(data)):
        sample = data[i]['data_samples']
        # A scene of another seed is another picture.
        given[sample.img_path] = tuple(sorted(sample.gt_maps.keys()))
    used = facts['labels_used']
    assert used['images'] == len(given)
    assert {task: n for task, n in used['labels'].items() if n} == {
        task: n
        for task in TASKS
        if (n := sum(task in row for row in given.values()))
    }
    assert (facts['label_mask'] is None) == (name == 'no_mask')


def test_the_hash():
    """Of the rows that are left, by hand; not of the mask of all images."""
    data = scenes(indices=[2, 5], tasks=dict(depth={}, sal={}), mask='full')
    text = '{"2":["depth","sal"],"5":["depth","sal"]}'
    facts = label_facts(data)
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert facts['labels_used'] == dict(
        images=2, labels=dict(depth=2, sal=2), sha256=digest
    )
    # The mask remains that of the run of all tasks, on all images.
    assert facts['label_mask'] == scenes(mask='full').label_mask.summary()
    names = [{'0-2': ['depth', 'sal'], '0-5': ['depth', 'sal']}]
    text = json.dumps(names[0], separators=(',', ':'))
    both = label_facts(torch.utils.data.ConcatDataset([data]))
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert both['labels_used']['sha256'] == digest


def test_the_masks_of_all_parts_are_told():
    """Also by wrappers whose meta information is that of the first part."""
    parts = [scenes(indices=3), scenes(1)]
    for data in (
        torch.utils.data.ConcatDataset(parts),
        mmengine.dataset.ConcatDataset(parts, ignore_keys=['label_mask']),
        MultiTaskConcatDataset(parts),
    ):
        found = label_facts(data)['label_mask']['parts']
        assert [part['part'] for part in found] == ['datasets.0', 'datasets.1']
        assert [part['seed'] for part in found] == [0, 1]
        for part, mine in zip(found, parts, strict=True):
            assert part['sha256'] == mine.label_mask.sha256


def test_a_data_set_of_another_package():
    assert label_facts([1, 2]) == {}
