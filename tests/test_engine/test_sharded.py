"""Training over shards, on two gloo processes: FSDP against DDP."""

import copy
import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import distributed as dist
from torch import multiprocessing as mp

from mmprotomtl.engine import non_finite_loss_hook
from mmprotomtl.engine.sharded import check_codebook
from mmprotomtl.testing import tiny_model, tiny_run
from mmprotomtl.utils.launch import prepare_cpu_launch, use_mixed_precision
from tests.conftest import ROOT

TASKS = dict(semseg=dict(num_classes=7), depth=dict())
METHOD = 'protomtl/protomtl_vit-l-fsdp_8xb1-200e_nyuv2-288x384-onelabel.py'


def config(work_dir, **options):
    """A run of a tiny ViT, started as ``dist_train.sh`` starts it."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run(TASKS))
    vit = Config.fromfile(ROOT / 'configs/_base_/backbones/vit_large.py')
    cfg.model.backbone = dict(
        vit.backbone,
        img_size=64,
        arch=dict(
            embed_dims=24,
            num_layers=2,
            num_heads=2,
            feedforward_channels=48,
        ),
    )
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.batch_size = 2
    cfg.train_dataloader.dataset.num_scenes = 8
    # So small that every step is clipped.
    cfg.optim_wrapper.clip_grad = dict(max_norm=0.1)
    cfg.optim_wrapper.optimizer = dict(type='SGD', lr=0.1, momentum=0.9)
    cfg.train_cfg.max_epochs = 2
    cfg.launcher = 'pytorch'
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = str(work_dir).replace('/', '-')
    cfg.merge_from_dict(options)
    return cfg


def sharded(work_dir, **options):
    cfg = config(work_dir, **options)
    ours = Config.fromfile(ROOT / 'configs' / METHOD)
    cfg.runner_type, cfg.strategy = ours.runner_type, ours.strategy
    prepare_cpu_launch(cfg.launcher, cfg)
    return cfg


class Watch(Hook):
    """Keeps what each rank has at the end of an epoch."""

    def after_train_epoch(self, runner):
        model = runner.model.module
        local = sum(p.numel() for p in runner.model.parameters())
        self.kept = dict(
            codes=model.neck.quantizer.code_count.clone(), local=local
        )


@non_finite_loss_hook.HOOKS.register_module(force=True)
class BreakOnRankOne(Hook):
    """Its images break the network in the third step."""

    priority = 'LOWEST'

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.bias = runner.model.module.head.predictors[0].bias.data
        self.good = None
        if runner.iter == 2 and runner.rank == 1:
            self.good = self.bias.clone()
            self.bias.fill_(torch.nan)

    def after_train_iter(self, runner, *args, **kwargs):
        if self.good is not None:
            self.bias.copy_(self.good)


def worker(rank, folder):
    torch.set_num_threads(1)
    os.environ.update(LOCAL_RANK=str(rank))
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    folder = Path(folder)
    runner = RUNNERS.build(sharded(folder / 'fsdp'))
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    torch.save(watch.kept, folder / f'watch-{rank}.pth')

    first = str(folder / 'fsdp/epoch_1.pth')
    again = sharded(folder / 'again', load_from=first, resume=True)
    RUNNERS.build(again).train()

    for name, first in (('adamw', None), ('adamw-again', 'adamw')):
        cfg = sharded(folder / name)
        # Its two moments are gathered one after the other.
        cfg.optim_wrapper.optimizer = dict(type='AdamW', lr=1e-3)
        cfg.val_dataloader = copy.deepcopy(cfg.test_dataloader)
        cfg.val_dataloader.dataset.update(split='val', num_scenes=2)
        cfg.val_evaluator, cfg.val_cfg = cfg.test_evaluator, dict()
        cfg.train_cfg.val_interval = 1
        cfg.default_hooks.checkpoint.save_best = 'depth/RMSE'
        if first:
            cfg.load_from, cfg.resume = f'{folder}/{first}/epoch_1.pth', True
        RUNNERS.build(cfg).train()

    cfg = sharded(folder / 'bf16')
    use_mixed_precision(cfg, 'auto')
    RUNNERS.build(cfg).train()

    cfg = config(folder / 'ddp')
    prepare_cpu_launch('pytorch', cfg)
    Runner.from_cfg(cfg).train()

    # Two steps make an update; the third is broken on one rank.
    cfg = config(folder / 'skipped')
    cfg.optim_wrapper.accumulative_counts = 2
    cfg.default_hooks.non_finite_loss.action = 'skip'
    cfg.custom_hooks.append(dict(type='BreakOnRankOne'))
    prepare_cpu_launch('pytorch', cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    torch.save(runner.model.module.state_dict(), folder / f'skip-{rank}.pth')
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('sharded')
    mp.start_processes(worker, (str(folder),), 2, start_method='spawn')
    return folder


def load(path):
    return torch.load(path, weights_only=False)


def end(runs, name):
    """The weights at the end of a run."""
    return load(runs / name / 'epoch_2.pth')['state_dict']


def test_the_steps_are_those_of_ddp(runs):
    ours, theirs = end(runs, 'fsdp'), end(runs, 'ddp')
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(
            ours[name], value, rtol=1e-3, atol=1e-5, msg=name
        )
    assert not list((runs / 'fsdp').glob('.epoch*'))


def test_weights_are_shared_out(runs):
    first, second = (load(runs / f'watch-{rank}.pth') for rank in range(2))
    assert torch.equal(first['codes'], second['codes'])
    state = end(runs, 'fsdp')
    buffers = ('code_count', 'steps', 'running_', 'num_batches', 'pos_embed')
    whole = sum(
        value.numel()
        for name, value in state.items()
        if not any(part in name for part in buffers)
    )
    for part in (first, second):
        assert 0.4 * whole < part['local'] < 0.6 * whole


@pytest.mark.parametrize(
    ('again', 'straight'), [('again', 'fsdp'), ('adamw-again', 'adamw')]
)
def test_resumes(runs, again, straight):
    ours, theirs = end(runs, again), end(runs, straight)
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


def test_checkpoints_know_their_place(runs):
    """Of a FlexibleRunner, also after a validation has stored one again."""
    steps = load(runs / 'adamw/epoch_1.pth')['meta']['iter']
    for epoch in (1, 2):
        meta = load(runs / f'adamw/epoch_{epoch}.pth')['meta']
        assert (meta['epoch'], meta['iter']) == (epoch, epoch * steps)
    (best,) = (runs / 'adamw').glob('best_*.pth')
    meta = load(best)['meta']
    assert best.stem.endswith(f'_{meta["epoch"]}')
    assert meta['iter'] == meta['epoch'] * steps


def test_bfloat16(runs):
    ours, theirs = end(runs, 'bf16'), end(runs, 'fsdp')
    name = 'neck.fusion.smooth.conv.weight'
    a, b = (part[name] for part in (ours, theirs))
    assert a.dtype == torch.float32
    assert 0 < (a - b).norm() < 0.05 * b.norm()


def test_all_ranks_skip_a_step_together(runs):
    first, second = (load(runs / f'skip-{rank}.pth') for rank in range(2))
    for name, value in first.items():
        if 'running_' in name:
            continue  # each rank's own, without SyncBN
        assert value.isfinite().all(), name
        assert torch.equal(value, second[name]), name


def test_codes_that_shards_would_lose():
    quantizer = dict(type='VectorQuantizer', num_codes=24, code_dim=16)
    model = tiny_model(neck=dict(quantizer=dict(quantizer, replace_below=1)))
    with pytest.raises(ValueError, match=r'model\.neck\.quantizer: kmeans_st'):
        check_codebook(model)
    quantizer.update(replace_below=1, kmeans_steps=1, update='ema')
    check_codebook(tiny_model(neck=dict(quantizer=quantizer)))


def test_a_launcher_is_needed(tmp_path):
    cfg = sharded(tmp_path, launcher='none')
    with pytest.raises(RuntimeError, match='start the run by tools/dist_tr'):
        RUNNERS.build(cfg).train()
