"""Every config is built, and trains and predicts on a small image."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmprotomtl.registry import DATASETS, HOOKS, METRICS, MODELS
from mmprotomtl.tasks import build_tasks

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / 'configs').glob('[!_]*/*.py'))


def test_count():
    # One more config: change the number, and see that it is tested below.
    assert len(CONFIGS) == 67


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config(path, monkeypatch):
    cfg = Config.fromfile(path)
    # Every part that is named is registered.
    for hook in cfg.custom_hooks:
        assert hook.type in HOOKS
    assert cfg.test_evaluator.type in METRICS
    assert list(cfg.model.tasks) == list(cfg.train_dataloader.dataset.tasks)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = dict(cfg[loader].dataset, lazy_init=True)
        tasks = DATASETS.build(dataset).metainfo['tasks']
        widths = {n: t.out_channels for n, t in build_tasks(tasks).items()}
        ours = build_tasks(cfg.model.tasks)
        assert widths == {n: t.out_channels for n, t in ours.items()}
    tail = path.stem.split('_')[-1]
    size = tuple(int(n) for n in tail.split('-')[1].split('x'))
    if size != (96, 128):
        # The paper's sizes: meta tensors show that it builds, and how wide.
        neck, head = cfg.model.neck, cfg.model.head
        assert neck.channels == 512
        if neck.type == 'PrototypeNeck':
            assert neck.quantizer.num_codes == 4096
            assert neck.prototype_dim == 1024
            assert head.num_blocks == 2
        if not path.stem.endswith('-onelabel'):
            return
        size = (64, 64)
    model = MODELS.build(cfg.model).eval()
    with torch.no_grad():
        logits = model(torch.zeros(1, 3, *size), mode='tensor')
    for task, logit in zip(model.tasks.values(), logits, strict=True):
        assert logit.shape == (1, task.out_channels, *size)


def test_names_that_users_rely_on():
    names = {path.relative_to(ROOT / 'configs').as_posix() for path in CONFIGS}
    tails = [
        '1xb8-20e_nyuv2-96x128',
        '1xb4-200e_nyuv2-288x384',
        '1xb8-demo_synthetic-96x128',
        '1xb4-200e_synthetic-288x384',
    ]
    methods = ['protomtl/protomtl', 'baselines/mtl'] + [
        f'baselines/stl-{task}' for task in ('semseg', 'depth', 'normals')
    ]
    for method in methods:
        for tail in tails:
            for labels in ('onelabel', 'randomlabel', 'full'):
                assert f'{method}_r18_{tail}-{labels}.py' in names


def test_protocols_differ_in_the_labels_only():
    stem = ROOT / 'configs/protomtl/protomtl_r18_1xb8-20e_nyuv2-96x128'
    one, random, full = (
        Config.fromfile(f'{stem}-{labels}.py')
        for labels in ('onelabel', 'randomlabel', 'full')
    )
    masks = [
        cfg.train_dataloader.dataset.pop('partial_labels')
        for cfg in (one, random, full)
    ]
    assert masks == [
        dict(mask_file='data/nyuv2/onelabel.pth'),
        dict(mask_file='data/nyuv2/randomlabels.pth'),
        dict(protocol='full'),
    ]
    assert one.to_dict() == random.to_dict() == full.to_dict()


def test_changing_the_backbone_is_one_line(tmp_path):
    base = ROOT / 'configs/protomtl'
    base = base / 'protomtl_r18_1xb8-20e_nyuv2-96x128-onelabel.py'
    mine = tmp_path / 'mine.py'
    mine.write_text(
        f'_base_ = {str(base)!r}\n'
        "model = dict(backbone=dict(_delete_=True, type='mmpretrain.ConvNeXt',"
        " arch='atto', out_indices=(0, 1, 2, 3), gap_before_final_norm=False))"
    )
    model = MODELS.build(Config.fromfile(mine).model)
    assert type(model.backbone).__name__ == 'ConvNeXt'
    logits = dict(
        zip(model.tasks, model(torch.zeros(1, 3, 64, 64)), strict=True)
    )
    assert logits['semseg'].shape == (1, 13, 64, 64)
