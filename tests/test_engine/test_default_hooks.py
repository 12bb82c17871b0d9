"""The hooks that we promise stay, whatever a user's config lists."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmprotomtl import engine
from mmprotomtl.engine import load_config
from mmprotomtl.registry import RUNNERS
from mmprotomtl.testing import PLAIN, tiny_run
from tests.conftest import ROOT

DEMO = 'configs/baselines/mtl_r18_1xb8-demo_synthetic-96x128-onelabel.py'
PROMISED = [
    'IterSeedHook', 'TaskCheckHook', 'NonFiniteLossHook', 'PrototypeLogHook',
    'MetricsFileHook', 'CheckpointSelectionHook', 'AtomicCheckpointHook',
    'ScheduleHook', 'SameRunHook', 'FinitePredictionsHook',
]  # fmt: skip
#: As configs of earlier versions have them.
EARLIER = [
    dict(type='IterSeedHook'),
    dict(type='TaskCheckHook'),
    dict(type='NonFiniteLossHook', action='skip', patience=3),
    dict(type='mmprotomtl.PrototypeLogHook', interval=7),
    dict(type='MetricsFileHook'),
]
#: What makes the demo config a run of seconds.
SMALL = {
    'num_train': 8, 'num_test': 2, 'batch_size': 4, 'size': (32, 64),
    'channels': 16, 'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
}  # fmt: skip


def hooks_of(cfg, work_dir):
    cfg = Config(cfg.to_dict())
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = work_dir.name
    return [type(hook).__name__ for hook in RUNNERS.build(cfg).hooks]


def user_config(tmp_path, text):
    path = tmp_path / 'user.py'
    path.write_text(f'_base_ = {str(ROOT / DEMO)!r}\n{text}')
    return path


def test_they_are_run_in_the_order_of_before(tmp_path):
    cfg = load_config(ROOT / DEMO, SMALL)
    found = hooks_of(cfg, tmp_path)
    assert found == [
        'LabelledLossHook', 'SameRunHook', 'RuntimeInfoHook',
        'CheckpointFitHook', 'CheckpointSelectionHook', 'IterSeedHook',
        'ScheduleHook',
        'FinitePredictionsHook', 'NonFiniteLossHook', 'IterTimerHook',
        'DistSamplerSeedHook', 'MultiTaskVisualizationHook', 'TaskCheckHook',
        'PrototypeLogHook', 'LoggerHook', 'MetricsFileHook',
        'ParamSchedulerHook', 'AtomicCheckpointHook',
    ]  # fmt: skip
    # A dumped config has its keys sorted; what depends on each other does not
    # change places.
    cfg.dump(tmp_path / 'dumped.py')
    (tmp_path / 'again').mkdir()
    again = hooks_of(load_config(tmp_path / 'dumped.py'), tmp_path / 'again')
    assert sorted(again) == sorted(found)
    assert again.index('TaskCheckHook') < again.index('MetricsFileHook')
    assert again.index('PrototypeLogHook') < again.index('LoggerHook')
    assert again[-1] == 'AtomicCheckpointHook'


def test_a_list_of_the_user_replaces_none_of_them(tmp_path):
    path = user_config(tmp_path, "custom_hooks = [dict(type='EMAHook')]")
    found = hooks_of(load_config(path, SMALL), tmp_path)
    assert [found.count(name) for name in [*PROMISED, 'EMAHook']] == [1] * 11


def test_configs_of_earlier_versions(tmp_path):
    cfg = Config.fromfile(ROOT / DEMO)
    today = cfg.default_hooks.to_dict()
    for name in (*engine.default_hooks.NAMES.values(), 'schedule'):
        del cfg.default_hooks[name]
    cfg.custom_hooks = [*EARLIER, dict(type='EMAHook')]
    loaded = load_config(cfg, SMALL)
    assert loaded.custom_hooks == [dict(type='EMAHook')]
    hooks = loaded.default_hooks
    assert hooks.keys() == today.keys()
    assert hooks.non_finite_loss.patience == 3
    assert hooks.prototype_log.interval == 7
    found = hooks_of(loaded, tmp_path)
    assert [found.count(name) for name in PROMISED] == [1] * 10
    # Listed by a user of today, too, and set by an option.
    mixed = user_config(tmp_path, f'custom_hooks = {EARLIER[2:3]!r}')
    options = {'default_hooks.non_finite_loss.patience': 5}
    hooks = load_config(mixed, options).default_hooks
    assert hooks.non_finite_loss == dict(EARLIER[2], patience=5)
    twice = user_config(tmp_path, f'custom_hooks = {EARLIER[2:3] * 2!r}')
    with pytest.raises(ValueError, match=r'two of NonFiniteLossHook: set def'):
        load_config(twice)


def test_one_is_left_out_by_its_name(tmp_path):
    options = {**SMALL, 'default_hooks.prototype_log': None}
    found = hooks_of(load_config(ROOT / DEMO, options), tmp_path)
    assert 'PrototypeLogHook' not in found
    assert 'MetricsFileHook' in found


def run(path, work_dir, **options):
    cfg = load_config(path, {**SMALL, **options})
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'{work_dir}{len(options)}'
    runner = RUNNERS.build(cfg)
    runner.train()
    return runner


def test_averaged_weights_are_trained_and_resumed(tmp_path, tool):
    """mmengine's EMAHook over the demo: trains, validates, goes on from a
    checkpoint to the same bits, is tested, and metrics.json is written.
    """
    path = user_config(tmp_path, "custom_hooks = [dict(type='EMAHook')]")
    length = {'max_epochs': 2, 'train_cfg.val_interval': 1}
    straight = run(path, tmp_path / 'straight', **length)
    assert straight.message_hub.get_scalar('val/semseg/mIoU')._log_history.size
    first = str(tmp_path / 'straight' / 'epoch_1.pth')
    run(path, tmp_path / 'again', **length, resume=True, load_from=first)
    a, b = (
        torch.load(tmp_path / name / 'epoch_2.pth', weights_only=False)
        for name in ('straight', 'again')
    )
    for part in ('state_dict', 'ema_state_dict'):
        assert a[part].keys() == b[part].keys()
        for key, value in a[part].items():
            assert torch.equal(value, b[part][key]), (part, key)
    # The checkpoint's weights are the averages, and not those of the last step
    # that was trained.
    name = 'backbone.conv1.weight'
    assert not torch.equal(
        a['state_dict'][name], straight.model.state_dict()[name].cpu()
    )
    # Without a hook that draws and a list to add to.
    bare = user_config(
        tmp_path, 'default_hooks = dict(visualization=None)\n'
        'custom_hooks = None\nvisualizer = None\n'
    )  # fmt: skip
    options = [f'{key}={value}' for key, value in SMALL.items()]
    options = [option.replace(' ', '') for option in options]
    tool(
        'tools/test.py', bare, tmp_path / 'straight' / 'epoch_2.pth',
        '--work-dir', tmp_path / 'test', '--out', tmp_path / 'out',
        '--show-dir', tmp_path / 'shown', '--cfg-options', *options,
    )  # fmt: skip
    report = json.loads((tmp_path / 'test' / 'metrics.json').read_text())
    assert report['metrics'].keys() >= {'semseg/mIoU', 'depth/RMSE'}
    assert len(list((tmp_path / 'shown').glob('*.png'))) == 2
    assert len(list((tmp_path / 'out' / 'depth').glob('*'))) == 2


def test_the_log_of_the_prototypes_follows_the_log(tmp_path):
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run(dict(semseg=dict(num_classes=7), depth={})))
    assert PLAIN['neck']['type'] != cfg.model.neck.type
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_cfg.max_epochs = 1
    cfg.default_hooks.logger.interval = 2
    cfg.work_dir = cfg.experiment_name = str(tmp_path)
    # mmengine keeps a visualizer, and where it writes, by its name.
    cfg.visualizer.name = str(tmp_path)
    Runner.from_cfg(cfg).train()
    (file,) = tmp_path.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    steps = [row['step'] for row in rows if 'affinity/depth/depth' in row]
    assert steps == [2, 4, 6]


@pytest.mark.parametrize(
    'name', ['MetricsFileHook', 'MultiTaskVisualizationHook',
             'SavePredictionsHook'],
)  # fmt: skip
def test_names_of_before(name):
    assert name in engine.__all__ and hasattr(engine, name)
