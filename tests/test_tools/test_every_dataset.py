"""Every dataset class through the command lines of training and testing.

The data are the sample trees of real frames, in the published forms; of
Cityscapes, which is not among them, a tree of its form is made. The networks
are ResNet-18 with few channels.
"""

import json
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from mmprotomtl.engine import load_config
from mmprotomtl.engine.task_sharing import take_copies
from mmprotomtl.registry import DATASETS
from tests.conftest import ROOT

METHOD = ROOT / 'configs/protomtl'
#: Recipe, folder of the sample tree, tasks that the scores have to hold.
SAMPLES = dict(
    NYUDv2=(
        'protomtl_r18_1xb4-200e_nyudv2-448x576-onelabel.py',
        'NYUDv2_atrc',
        {'semseg/mIoU', 'depth/RMSE', 'normals/mErr', 'edge/odsF'},
    ),
    NYUD_MT=(
        'protomtl_r18_1xb4-200e_nyudv2-448x576-onelabel.py',
        'NYUD_MT',
        {'semseg/mIoU', 'depth/RMSE', 'normals/mErr', 'edge/odsF'},
    ),
    PASCAL=(
        'protomtl_r18_1xb4-200e_pascal-512x512-onelabel.py',
        'PASCAL_MT',
        {
            'semseg/mIoU', 'human_parts/mIoU', 'sal/maxF', 'normals/mErr',
            'edge/odsF',
        },
    ),
    NYUv2=(
        'protomtl_r18_1xb4-200e_nyuv2-288x384-onelabel.py',
        'mtpsl_nyuv2',
        {'semseg/mIoU', 'depth/absErr', 'normals/mErr'},
    ),
)  # fmt: skip
CITYSCAPES = 'protomtl_r18_1xb8-200e_cityscapes-128x256-onelabel.py'
SCENES = 'protomtl_r18_1xb8-demo_synthetic-96x128-onelabel.py'
SEEN = set()


def small(config):
    """A recipe with a network of few channels, and one pass over few images.

    Image sizes, transforms, losses and scores stay as they are.
    """
    cfg = load_config(METHOD / config)
    cfg.merge_from_dict(
        {
            'model.backbone.stem_channels': 8,
            'model.backbone.base_channels': 8,
            'model.neck.channels': 8,
            'model.neck.quantizer.num_codes': 16,
            'model.neck.quantizer.code_dim': 8,
            'model.neck.prototype_dim': 8,
            'model.neck.token_stride': 4,
            'model.head.num_heads': 2,
            'model.head.num_blocks': 1,
            'train_cfg.max_epochs': 1,
            'default_hooks.logger.interval': 1,
        }
    )
    for name in ('train', 'val', 'test'):
        loader = cfg[f'{name}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
    # As a config file has them: once, at the top level.
    take_copies(cfg)
    return cfg


def use(cfg, **dataset):
    """The same data set for all loaders, every label of it."""
    for name, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        given = cfg[f'{name}_dataloader'].dataset
        given.pop('partial_labels', None)
        given.update(dataset, split=split)


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Trains and tests a config as a user does; returns the results."""
    # mmengine formats every config five times, which takes most of the time.
    monkeypatch.setattr(
        'yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)
    )

    def run(cfg):
        cfg.dump(tmp_path / 'config.py')
        monkeypatch.chdir(tmp_path)
        work_dir = tmp_path / 'run'
        for name, *args in (
            ('train.py', '--work-dir', work_dir),
            ('test.py', work_dir / 'epoch_1.pth', '--out', tmp_path / 'out',
             '--work-dir', tmp_path / 'tested'),
        ):  # fmt: skip
            argv = [name, tmp_path / 'config.py', *args]
            monkeypatch.setattr(sys, 'argv', list(map(str, argv)))
            runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')
        SEEN.add(cfg.train_dataloader.dataset.type)
        report = json.loads((tmp_path / 'tested/metrics.json').read_text())
        assert (tmp_path / 'out').is_dir()
        return report

    return run


@pytest.mark.parametrize('name', SAMPLES)
def test_sample_trees(cli, shared_data, name):
    config, folder, scores = SAMPLES[name]
    cfg = small(config)
    root = shared_data / 'layouts' / folder
    use(cfg, data_root=str(root))
    before = {path: path.stat().st_mtime_ns for path in root.rglob('*')}
    report = cli(cfg)
    # Nothing was written into the data folder.
    after = {path: path.stat().st_mtime_ns for path in root.rglob('*')}
    assert after == before
    assert scores <= set(report['metrics'])
    for key in scores:
        assert np.isfinite(report['metrics'][key]), key
    assert report['test_data']['images'] == 2


@pytest.fixture
def cityscapes(tmp_path):
    """A tree in the form of MTAN's Cityscapes, of smooth noise."""
    rng = np.random.default_rng(0)
    root = tmp_path / 'cityscapes'
    for split, number in (('train', 4), ('val', 2)):
        for folder in ('image', 'label_7', 'label_19', 'depth'):
            (root / split / folder).mkdir(parents=True)
        for i in range(number):
            coarse = rng.random((16, 32)).repeat(8, 0).repeat(8, 1)
            arrays = dict(
                image=np.repeat(coarse[..., None], 3, 2),
                label_7=np.floor(coarse * 8) - 1,
                label_19=np.floor(coarse * 20) - 1,
                depth=coarse[..., None] * 0.4,
            )
            for folder, array in arrays.items():
                np.save(root / split / folder / f'{i}.npy', array)
    return root


@pytest.mark.parametrize('classes', [7, 19])
def test_cityscapes(cli, cityscapes, classes):
    cfg = small(CITYSCAPES)
    cfg.tasks = dict(semseg=dict(), depth=dict(metric='absErr'))
    use(cfg, data_root=str(cityscapes), num_classes=classes)
    report = cli(cfg)
    assert np.isfinite(report['metrics']['semseg/mIoU'])
    assert 0 < report['metrics']['depth/absErr'] < 10


@pytest.fixture
def folders(tmp_path, shared_data):
    """A user's folder: real frames, some with masks, others with depth."""
    source, root = shared_data / 'layouts/NYUD_MT', tmp_path / 'mine'
    for folder in ('images', 'masks', 'depth'):
        (root / folder).mkdir(parents=True)
    for i, name in enumerate(('0001', '0002', '0003', '0004')):
        Image.open(source / f'images/{name}.jpg').save(
            root / f'images/{name}.png'
        )
        if i % 2:
            mask = Image.open(source / f'segmentation/{name}.png')
            mask.save(root / f'masks/{name}.png')
        else:
            depth = np.load(source / f'depth/{name}.npy')
            millimetres = Image.fromarray((depth * 1000).astype(np.uint16))
            millimetres.save(root / f'depth/{name}.png')
    return dict(
        type='ImageFolderMTDataset',
        data_root=str(root),
        folders=dict(
            semseg=dict(folder='masks', ignore=0, offset=-1),
            depth=dict(folder='depth', scale=0.001),
        ),
        tasks=dict(semseg=dict(num_classes=40), depth={}),
    )


def test_an_image_folder(cli, folders):
    cfg = small(SAMPLES['NYUDv2'][0])
    cfg.tasks = folders.pop('tasks')
    use(cfg, **folders)
    report = cli(cfg)
    assert report['label_mask']['protocol'] == 'as-on-disk'
    assert report['label_mask']['labels'] == dict(depth=2, semseg=2)
    assert {'semseg/mIoU', 'depth/RMSE'} <= set(report['metrics'])
    assert np.isfinite(report['metrics']['depth/RMSE'])


def test_data_sets_of_one_task_each(cli, folders, cityscapes):
    """A folder of depth beside streets with classes."""
    cfg = small(CITYSCAPES)
    parts = [
        dict(
            folders, folders=dict(depth=folders['folders']['depth']),
            tasks=dict(depth={}),
        ),
        dict(
            type='CityscapesMTDataset', data_root=str(cityscapes),
            tasks=['semseg'],  # not its disparity
        ),
    ]  # fmt: skip
    cfg.tasks = dict(semseg=dict(), depth=dict())
    for name, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        loader = cfg[f'{name}_dataloader']
        steps = list(loader.dataset.pipeline)
        if name == 'train':
            steps.insert(2, dict(type='MultiTaskResize', scale=(256, 128)))
        else:
            steps.insert(1, dict(type='MultiTaskResize', scale=(256, 128)))
        loader.dataset = dict(
            type='MultiTaskConcatDataset',
            datasets=[dict(p, split=split, pipeline=steps) for p in parts],
        )
    report = cli(cfg)
    assert report['label_mask']['labels'] == dict(depth=2, semseg=4)
    assert np.isfinite(report['metrics']['semseg/mIoU'])
    assert np.isfinite(report['metrics']['depth/RMSE'])


def test_scenes(cli):
    cfg = small(SCENES)
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].dataset.num_scenes = 12
    report = cli(cfg)
    assert len(report['label_mask']['labels']) == 6
    assert np.isfinite(report['metrics']['human_parts/mIoU'])


def test_none_is_left_out(request):
    """Every registered data set was trained on above."""
    if request.session.testsfailed or len(SEEN) < 2:
        pytest.skip('only after all tests of this file')
    ours = {
        name
        for name, kind in DATASETS.module_dict.items()
        if kind.__module__.startswith('mmprotomtl.')
        # Wrappers of data sets have no data of their own.
        and kind.__module__ != 'mmprotomtl.datasets.wrappers'
    }
    assert ours == SEEN
