import os

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner, save_checkpoint

from mmprotomtl.engine import latest_checkpoint
from mmprotomtl.registry import HOOKS
from mmprotomtl.testing import tiny_run
from tests.conftest import ROOT

ATOMIC = dict(backend='atomic')


def test_the_hook_writes_at_once():
    hook = HOOKS.build(dict(type='AtomicCheckpointHook', interval=1))
    assert hook.backend_args == ATOMIC
    other = dict(type='AtomicCheckpointHook', backend_args=dict(backend='x'))
    assert HOOKS.build(other).backend_args == dict(backend='x')


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = str(tmp_path / 'epoch_1.pth')
    first = dict(meta=dict(epoch=1, iter=6))
    save_checkpoint(first, path, backend_args=ATOMIC)
    replace = os.replace

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(
        OSError, match=r'No space left on device; 0\.0 MB .*'
    ) as e:
        save_checkpoint(dict(a=2), path, backend_args=ATOMIC)
    assert e.value.filename == path
    monkeypatch.setattr(os, 'fsync', lambda _: None)
    # A kill just before the move.
    monkeypatch.setattr(os, 'replace', lambda *_: os._exit(9))
    child = os.fork()
    if not child:
        save_checkpoint(dict(a=2), path, backend_args=ATOMIC)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    monkeypatch.setattr(os, 'replace', replace)
    assert torch.load(path) == first
    assert latest_checkpoint(tmp_path) == path


def trainer(work_dir, **checkpoint):
    """A run of three epochs of a single tiny network."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run(dict(semseg=dict(num_classes=7), depth={})))
    cfg.train_dataloader.dataset.num_scenes = 4
    cfg.train_dataloader.dataset.pop('partial_labels')
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.default_hooks.checkpoint.update(checkpoint)
    cfg.val_dataloader = cfg.test_dataloader
    cfg.val_dataloader.dataset.split = 'val'
    cfg.val_evaluator = cfg.test_evaluator
    cfg.val_cfg = dict()
    cfg.train_cfg.val_interval = 1
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = str(work_dir)
    return Runner.from_cfg(cfg)


class Failing(Hook):
    """The disk is full from some checkpoint on."""

    priority = 'VERY_LOW'

    def __init__(self, monkeypatch, number):
        self.monkeypatch, self.left = monkeypatch, number

    def before_save_checkpoint(self, runner, checkpoint):
        self.left -= 1
        if self.left < 0:
            self.monkeypatch.setattr(os, 'fsync', full)


def full(*_):
    raise OSError(28, 'No space left on device')


def test_the_old_one_goes_after_the_new_one_is_there(tmp_path, monkeypatch):
    """mmengine removes it before: with one to keep, a full disk keeps none."""
    run = trainer(tmp_path, max_keep_ckpts=1, save_best='semseg/mIoU')
    (tmp_path / '.epoch_7.pth.123').write_text('half')
    run.register_hook(Failing(monkeypatch, 2), priority='VERY_LOW')
    with pytest.raises(OSError, match='No space left on device; '):
        run.train()
    # epoch_1, best_1, and then not epoch_1 with the score of the best.
    names = sorted(path.name for path in tmp_path.glob('*.pth'))
    assert names == ['best_semseg_mIoU_epoch_1.pth', 'epoch_1.pth']
    assert not list(tmp_path.glob('.epoch*'))
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')


def test_one_is_kept(tmp_path):
    trainer(tmp_path, max_keep_ckpts=1, save_best='semseg/mIoU').train()
    names = sorted(path.name for path in tmp_path.glob('*.pth'))
    best, last = names
    assert last == 'epoch_3.pth'
    assert best.startswith('best_semseg_mIoU_epoch_')


def test_what_was_just_written_again_stays(tmp_path):
    """A run that is begun again in its folder writes the files anew that its
    notes say are the oldest and the former best.
    """
    run = trainer(tmp_path, max_keep_ckpts=2, save_best='semseg/mIoU')
    run.train_loop._max_epochs = 1
    best = tmp_path / 'best_semseg_mIoU_epoch_1.pth'
    for file in (best, tmp_path / 'epoch_1.pth', tmp_path / 'epoch_2.pth'):
        torch.save(dict(earlier=True), file)
    run.message_hub.update_info('keep_ckpt_ids', [1, 2])
    run.message_hub.update_info('best_ckpt', str(best))
    run.message_hub.update_info('best_score', -1.0)
    run.train()
    for file in (best, tmp_path / 'epoch_1.pth'):
        assert 'earlier' not in torch.load(file, weights_only=False), file
    assert (tmp_path / 'epoch_2.pth').exists()
