"""tools/analysis_tools/benchmark_loader.py: 8 workers, 5 tasks, real files."""

import importlib.util
import json
import os
from argparse import Namespace
from mmap import mmap

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmprotomtl.registry import DATASETS
from tests.conftest import ROOT

TOOL = ROOT / 'tools/analysis_tools/benchmark_loader.py'
H, W, IMAGES = 120, 160, 320
TASKS = dict(semseg=dict(num_classes=3), depth={}, normals={}, sal={}, edge={})


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Many names of one image, and of its five labels."""
    root = tmp_path_factory.mktemp('folder')
    labels = dict.fromkeys(('semseg', 'sal', 'edge'), np.eye(H, W))
    labels['depth'] = np.ones((H, W), np.float32)
    labels['normals'] = np.ones((H, W, 3), np.float32)
    (root / 'images').mkdir()
    Image.fromarray(np.zeros((H, W, 3), np.uint8)).save(root / 'image.png')
    for task, label in labels.items():
        (root / task).mkdir()
        np.save(root / f'{task}.npy', label)
    for i in range(IMAGES):
        os.link(root / 'image.png', root / 'images' / f'{i:03}.png')
        for task in labels:
            os.link(root / f'{task}.npy', root / task / f'{i:03}.npy')
    return root


def loader(root, *steps, **kwargs):
    return dict(
        batch_size=4,
        num_workers=8,
        persistent_workers=True,
        sampler=dict(type='SeededSampler', shuffle=True),
        dataset=dict(
            type='ImageFolderMTDataset',
            data_root=str(root),
            folders={task: task for task in TASKS},
            tasks=TASKS,
            pipeline=[
                dict(type='LoadMultiTaskImage'),
                dict(type='LoadMultiTaskAnnotations'),
                *steps,
                dict(type='PackMultiTaskInputs'),
            ],
            **kwargs,
        ),
    )


@pytest.fixture(scope='module')
def module():
    """The tool's functions."""
    spec = importlib.util.spec_from_file_location('benchmark_loader', TOOL)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def built(module, root, *steps, **kwargs):
    cfg = loader(root, *steps, **kwargs)
    cfg['dataset'] = DATASETS.build(cfg['dataset'])
    with DefaultScope.overwrite_default_scope('mmprotomtl'):
        return module.build(cfg, 8)


def grown(run):
    assert all(len(row['rss']) == 5 for row in run['memory_mib'])
    # Buffers are found in the first quarter.
    return max(row['rss'][-1] - row['rss'][1] for row in run['memory_mib'])


def test_eight_workers_neither_grow_nor_run_out_of_files(root, tool, tmp_path):
    config, out = tmp_path / 'config.py', tmp_path / 'out.json'
    config.write_text(
        "custom_imports = dict(imports=['mmprotomtl'])\n"
        f'train_dataloader = {loader(root)}\n'
    )
    text = tool(TOOL, config, '--json', out).stdout
    report = json.loads(out.read_text())
    (run,) = report['runs']
    assert (run['workers'], run['images'], run['batches']) == (8, IMAGES, 80)
    assert len(run['memory_mib']) == 8
    # Kept, the labels of 20 images would be 8 MiB in each worker.
    assert grown(run) < 5
    # A descriptor for each image under way, whatever the number of tasks.
    assert run['open_files'] < 100 + 8 * 2 * 4
    assert run['open_files_worker'] < 100
    assert run['images_per_s'] == pytest.approx(
        8 * run['images_per_s_per_worker']
    )
    steps = {row['step']: row for row in report['steps']['own']}
    assert sum(row['share'] for row in steps.values()) == pytest.approx(1)
    assert steps['LoadMultiTaskAnnotations']['ms'] > 0
    assert 'LoadMultiTaskAnnotations' in text
    assert f'at most {report["open_files_limit"]} files' in text


def test_a_leak_is_seen(module, root):
    """What the test above finds nothing of: a step that keeps memory."""
    kept = []

    def leak(results):
        # Memory of its own: copies of labels would fit into what earlier
        # tests of this process, which the workers are forks of, have freed.
        block = mmap(-1, 2**20)
        block.write(bytes(2**20))
        kept.append(block)
        return results

    assert grown(module.epoch(built(module, root, leak))) > 5


def test_comparison_with_every_label(module, root, capsys):
    mask = dict(protocol='one-label', seed=0)
    cfg = Config(dict(train_dataloader=loader(root, partial_labels=mask)))
    args = Namespace(
        split='train', images=10, compare_full=True, workers=[0, 1], repeats=2
    )
    with DefaultScope.overwrite_default_scope('mmprotomtl'):
        report = module.measure(module.loader_cfgs(cfg, args), args)
    module.show(report)
    text = capsys.readouterr().out
    runs = [(r['labels'], r['workers'], r['images']) for r in report['runs']]
    assert runs == [
        ('own', 0, 10), ('full', 0, 10), ('own', 1, 10), ('full', 1, 10),
    ]  # fmt: skip
    rate = {(r['labels'], r['workers']): r['images_per_s'] for r in
            report['runs']}  # fmt: skip
    for workers in (0, 1):
        factor = rate['own', workers] / rate['full', workers]
        assert report['speedup'][workers] == pytest.approx(factor)
        assert f'{workers} workers: {factor:.2f} times' in text


def test_without_a_label_mask_there_is_nothing_to_compare(module, root):
    cfg = Config(dict(train_dataloader=loader(root)))
    args = Namespace(split='train', images=None, compare_full=True)
    with pytest.raises(ValueError, match='nothing to compare with'):
        module.loader_cfgs(cfg, args)
    args.split = 'val'
    with pytest.raises(ValueError, match='no val_dataloader'):
        module.loader_cfgs(cfg, args)


def test_kept_batches_hold_a_file_for_each_image(module, root):
    """Not one for each label: a test that keeps its samples goes on."""
    data = built(module, root, indices=96)
    before = len(os.listdir('/proc/self/fd'))
    kept = list(data)
    samples = [sample for batch in kept for sample in batch['data_samples']]
    assert all(len(sample.gt_maps.keys()) == 5 for sample in samples)
    assert len(samples) == 96
    held = len(os.listdir('/proc/self/fd')) - before
    assert held < 96 + 8 * 8
