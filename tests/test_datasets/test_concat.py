import hashlib
import json
import random

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmprotomtl.apis import MultiTaskInferencer
from mmprotomtl.apis.inferencer import image_pipeline
from mmprotomtl.datasets import (
    CityscapesMTDataset,
    MultiTaskConcatDataset,
)
from mmprotomtl.datasets.check import check_config, format_report
from mmprotomtl.datasets.samplers import SeededIndex
from mmprotomtl.label_masks import read_mask_file, write_label_mask
from mmprotomtl.registry import DATASETS
from mmprotomtl.testing import PLAIN, tiny_cfg

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


def test_each_part_keeps_its_label_mask(parts, tmp_path):
    data = concat(parts[1:])
    drawn = data.datasets[1].metainfo['label_mask']['labels']
    assert drawn == dict(sal=2, semseg=2)
    assert data.metainfo['label_mask']['labels'] == dict(depth=2, **drawn)
    seen = [item['data_samples'].gt_maps.keys() for item in data]
    assert sum(map(len, seen)) == 6 and all(len(keys) == 1 for keys in seen)
    # What each mask says of itself stays, also in a file.
    assert [
        (part['part'], part['type'], part['protocol'], part['seed'])
        for part in data.label_mask.summary()['parts']
    ] == [
        ('datasets.0', 'ImageFolderMTDataset', 'as-on-disk', None),
        ('datasets.1', 'SyntheticScenesDataset', 'one-label', 0),
    ]
    second = data.datasets[1].label_mask
    assert data.label_mask.parts[1]['sha256'] == second.sha256
    path = tmp_path / 'mask.json'
    write_label_mask(path, data.label_mask)
    again = read_mask_file(str(path))
    assert again.parts == data.label_mask.parts
    assert again.sha256 == data.label_mask.sha256
    assert concat(parts[1:]).label_mask.sha256 == again.sha256
    other = [parts[1], dict(parts[2], partial_labels='random-label')]
    assert concat(other).label_mask.sha256 != again.sha256


def test_the_hash_of_all_labels_is_that_of_its_rows(parts):
    data = concat(parts[:2])
    rows = {
        **{f'0-{i}': ['semseg'] for i in range(3)},
        **{f'1-{i}': ['depth'] for i in range(2)},
    }
    text = json.dumps(rows, sort_keys=True, separators=(',', ':'))
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert data.metainfo['label_mask']['sha256'] == digest


def test_a_part_without_a_mask_has_every_label(parts):
    del parts[2]['partial_labels']
    (_, part) = concat(parts[1:]).label_mask.parts
    assert part['protocol'] == 'full' and part['images'] == 4
    assert part['labels'] == dict(sal=4, semseg=4)


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
    with pytest.raises(ValueError, match=r'datasets\[1\] is a list, not a'):
        concat([parts[0], [1]])


def test_lazy_init(parts):
    data = concat(parts[:2], lazy_init=True)
    assert 'label_mask' not in data.metainfo
    assert list(data.tasks) == ['depth', 'semseg']
    assert len(data) == 5
    assert data.metainfo['label_mask']['images'] == 5


def check(parts, **loaders):
    whole = dict(type='MultiTaskConcatDataset', datasets=parts)
    return check_config(
        dict(train_dataloader=dict(dataset=whole), **loaders), workers=1
    )


def test_the_check_looks_at_all_parts(parts):
    reports = check(parts[1:])
    assert [report['images'] for report in reports] == [2, 4]
    assert [report['part'] for report in reports] == [
        'datasets.0', 'datasets.1',
    ]  # fmt: skip
    assert not any(report['errors'] for report in reports)


def test_the_check_names_the_part_in_each_finding(parts, tmp_path):
    (tmp_path / 'one/masks/1.png').write_bytes(b'no picture')
    Image.fromarray(np.full((H, W), 9, np.uint8)).save(
        tmp_path / 'one/masks/2.png'
    )
    test = dict(test_dataloader=dict(dataset=parts[1]))
    first, second = check(parts[:2], **test)
    assert second['loader'] == 'train, test'
    assert {f['part'] for f in first['errors']} == {'datasets.0'}
    text = format_report(first)
    assert 'train, datasets.0: ImageFolderMTDataset' in text
    for name in ('1', '2'):
        path = tmp_path / f'one/masks/{name}.png'
        assert f'  datasets.0: {path}: ' in text
    assert 'train, test, datasets.1: ' in format_report(second)


def test_the_check_builds_the_whole(parts):
    """Parts that are right by themselves, but do not fit together."""
    first, *others = check(parts)
    assert first['errors'][0]['file'] == 'train_dataloader.dataset'
    problem = first['errors'][0]['problem']
    assert 'semseg.num_classes is 5 in datasets[0]' in problem
    assert 'but 7 in datasets[2]' in problem
    assert not any(report['errors'] for report in others)
    # What one part says of itself is not said again.
    parts[0]['tasks'] = dict(flow={})
    errors = [e for report in check(parts[:2]) for e in report['errors']]
    assert len(errors) == 1 and errors[0]['part'] == 'datasets.0'


@pytest.mark.parametrize('place', ['val', 'test'])
def test_the_inferencer(parts, tiny_config, place):
    """A picture is prepared as the parts of the test set say."""
    tasks = dict(semseg=dict(num_classes=5), depth=dict())
    cfg = Config.fromfile(tiny_config)
    cfg.tasks, cfg.model = tasks, tiny_cfg(tasks, **PLAIN)
    resize = dict(type='MultiTaskResize', scale=(64, 32))
    pack = dict(type='PackMultiTaskInputs')
    steps = [PIPELINE[0], resize, PIPELINE[1], pack]
    tests = [dict(part, pipeline=steps) for part in parts[:2]]
    both = dict(type='MultiTaskConcatDataset', datasets=tests)
    cfg.val_dataloader = cfg.train_dataloader
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].dataset = both
    if place == 'val':
        cfg.pop('test_dataloader')
    # As mmengine's metafile reader and a checkpoint hand it on.
    infer = MultiTaskInferencer(cfg)
    photo = np.zeros((H, W, 3), np.uint8)
    maps = infer(photo, show=False)['predictions'][0]
    assert maps['depth'].shape == (1, H, W)
    assert set(maps) == {'depth', 'semseg'}
    assert image_pipeline(cfg) == [PIPELINE[0], resize, pack]
    loader = cfg[f'{place}_dataloader']
    loader.dataset = dict(both, datasets=[tests[0], parts[1]])
    with pytest.raises(ValueError, match=r'datasets\.0 and .*datasets\.1'):
        image_pipeline(cfg)
    cfg.pop(f'{place}_dataloader')
    cfg.pop('val_dataloader', None)
    with pytest.raises(ValueError, match='neither test_dataloader nor val_'):
        image_pipeline(cfg)


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
    assert 'labels used in training: ' in done.stdout
    assert (
        'labels of datasets.0 (ImageFolderMTDataset): protocol as-on-disk'
    ) in done.stdout
    assert '5 images (depth 2, semseg 3)' in done.stdout
    assert list((tmp_path / 'run').glob('epoch_*.pth'))
