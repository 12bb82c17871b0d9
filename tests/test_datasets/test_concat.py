import random

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmprotomtl.datasets import (
    CityscapesMTDataset,
    MultiTaskConcatDataset,
)
from mmprotomtl.datasets.check import check_config
from mmprotomtl.datasets.samplers import SeededIndex
from mmprotomtl.registry import DATASETS

H, W = 32, 48
PIPELINE = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
    dict(type='MultiTaskRandomFlip', prob=0.5),
    dict(type='PackMultiTaskInputs'),
]


def single(root, task, folder, number, **options):
    """The config of a folder with one task's labels."""
    rng = np.random.default_rng(number)
    for name in ('images', folder):
        (root / name).mkdir(parents=True)
    for i in range(number):
        photo = rng.integers(0, 256, (H, W, 3)).astype(np.uint8)
        Image.fromarray(photo).save(root / f'images/{i}.png')
        label = rng.integers(1, 4, (H, W)).astype(np.uint8)
        Image.fromarray(label).save(root / f'{folder}/{i}.png')
    return dict(
        type='ImageFolderMTDataset', data_root=str(root),
        folders={task: folder}, tasks={task: options}, pipeline=PIPELINE,
    )  # fmt: skip


@pytest.fixture
def parts(tmp_path):
    return [
        single(tmp_path / 'one', 'semseg', 'masks', 3, num_classes=5),
        single(tmp_path / 'two', 'depth', 'depth', 2),
        dict(
            type='SyntheticScenesDataset', size=(H, W), num_scenes=4,
            tasks=dict(semseg=dict(num_classes=7), sal={}),
            partial_labels=dict(protocol='one-label', seed=0),
            pipeline=PIPELINE,
        ),
    ]  # fmt: skip


def concat(parts, **kwargs):
    return DATASETS.build(
        dict(type='MultiTaskConcatDataset', datasets=parts, **kwargs)
    )


def test_two_folders(parts):
    data = concat(parts[:2])
    assert isinstance(data, MultiTaskConcatDataset) and len(data) == 5
    assert list(data.tasks) == ['depth', 'semseg']
    assert data.metainfo['tasks'] == dict(
        semseg=dict(num_classes=5), depth=dict()
    )
    ids = [data.get_data_info(i)['sample_id'] for i in range(5)]
    assert ids == ['0-0', '0-1', '0-2', '1-0', '1-1']
    for i, item in enumerate(data):
        sample = item['data_samples']
        assert sample.sample_id == ids[i]
        assert sample.gt_maps.keys() == [['semseg'], ['depth']][i > 2]
        assert item['inputs'].shape == (3, H, W)
    mask = data.metainfo['label_mask']
    assert mask['labels'] == dict(depth=2, semseg=3)
    assert mask['images'] == 5 and mask['protocol'] == 'concatenated'
    assert [p['type'] for p in data.metainfo['datasets']] == [
        'ImageFolderMTDataset'
    ] * 2


def test_each_part_keeps_its_label_mask(parts):
    data = concat(parts[1:])
    drawn = data.datasets[1].metainfo['label_mask']['labels']
    assert drawn == dict(sal=2, semseg=2)
    assert data.metainfo['label_mask']['labels'] == dict(depth=2, **drawn)
    seen = [item['data_samples'].gt_maps.keys() for item in data]
    assert sum(map(len, seen)) == 6 and all(len(keys) == 1 for keys in seen)


def test_seeds_of_the_sampler_arrive(parts):
    """Random transforms follow from the seed alone, in all parts."""
    data = concat(parts[1:])
    for i in range(len(data)):
        flips = set()
        for seed in range(12):
            np.random.seed(random.randrange(999))
            random.seed(seed % 3)
            first, second = (data[SeededIndex(i, seed)] for _ in range(2))
            assert (first['inputs'] == second['inputs']).all()
            flips.add(bool(first['data_samples'].flip))
        assert flips == {True, False}


def test_conflicts_are_refused(parts, tmp_path):
    with pytest.raises(
        ValueError, match=r'semseg\.num_classes is 5 in datasets\[0\].*but 7'
    ):
        concat([parts[0], parts[2]])
    disparity = CityscapesMTDataset(
        data_root=str(tmp_path), tasks=dict(depth={}), lazy_init=True
    )
    with pytest.raises(
        ValueError, match=r"depth\.unit is 'metres'.*disparity"
    ):
        concat([parts[1], disparity])
    names = [dict(parts[0]), dict(parts[0])]
    for part, first in zip(names, 'ab', strict=True):
        part['tasks'] = dict(
            semseg=dict(num_classes=5, classes=[first, *'vwxy'])
        )
    with pytest.raises(ValueError, match=r'semseg\.classes'):
        concat(names)
    # Where only one says the names, they are taken from it.
    names[0]['tasks'] = dict(semseg=dict(num_classes=5))
    assert concat(names).tasks['semseg'].classes == ('b', *'vwxy')
    with pytest.raises(ValueError, match='at least one'):
        concat([])
    with pytest.raises(ValueError, match=r'datasets\[1\] is a list, no data'):
        concat([parts[0], [1]])


def test_lazy_init(parts):
    data = concat(parts[:2], lazy_init=True)
    assert 'label_mask' not in data.metainfo
    assert list(data.tasks) == ['depth', 'semseg']
    assert len(data) == 5
    assert data.metainfo['label_mask']['images'] == 5


def test_the_check_looks_at_all_parts(parts):
    cfg = dict(type='MultiTaskConcatDataset', datasets=parts)
    reports = check_config(dict(train_dataloader=dict(dataset=cfg)))
    assert [report['images'] for report in reports] == [3, 2, 4]
    assert not any(report['errors'] for report in reports)


def test_training(parts, tiny_config, tool, tmp_path):
    """A network of both tasks learns from two folders of one task each."""
    cfg = Config.fromfile(tiny_config)
    cfg.tasks = dict(semseg=dict(num_classes=5), depth=dict())
    del cfg.model['tasks']
    loader = cfg.train_dataloader
    loader.batch_size = 2
    loader.dataset = dict(type='MultiTaskConcatDataset', datasets=parts[:2])
    for key in ('dataloader', 'evaluator', 'cfg'):
        for name in ('val', 'test'):
            cfg.pop(f'{name}_{key}', None)
    cfg.dump(tmp_path / 'two.py')
    done = tool(
        'tools/train.py', tmp_path / 'two.py', '--work-dir', tmp_path / 'run'
    )
    assert 'protocol concatenated' in done.stdout
    assert '5 images (depth 2, semseg 3)' in done.stdout
    assert list((tmp_path / 'run').glob('epoch_*.pth'))
