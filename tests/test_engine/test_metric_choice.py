"""Whether a higher score is better follows from the tasks."""

import copy
import json
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmprotomtl.engine import load_config
from mmprotomtl.engine.metric_choice import choose_by
from mmprotomtl.evaluation import MultiTaskMetric
from mmprotomtl.evaluation.delta import Reference
from mmprotomtl.tasks import build_tasks
from mmprotomtl.testing import PLAIN, tiny_cfg, tiny_run
from tests.conftest import ROOT

TASKS = dict(
    semseg=dict(num_classes=7),
    depth=dict(),
    edge=dict(num_thresholds=3),
)
#: Scores of four epochs; the second is the best of each.
SCORES = {
    'semseg/mIoU': [20.0, 40.0, 30.0, 30.0],
    'depth/RMSE': [2.0, 1.0, 1.5, 1.2],
    'edge/odsF': [10.0, 30.0, 20.0, 20.0],
    'delta_m': [-5.0, 3.0, 1.0, 1.0],
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(
        'yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)
    )


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """A run of four epochs, or of ``epochs``, with scores that are given."""

    def build(name, options, tasks=TASKS, scores=SCORES, hooks=()):
        cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
        cfg.merge_from_dict(tiny_run(tasks))
        cfg.model = tiny_cfg(tasks, **PLAIN)
        cfg.train_dataloader.dataset.num_scenes = 2
        cfg.train_dataloader.dataset.pop('partial_labels')
        cfg.train_dataloader.update(
            num_workers=0, persistent_workers=False, batch_size=2
        )
        cfg.val_dataloader = copy.deepcopy(cfg.test_dataloader)
        cfg.val_dataloader.dataset.update(
            split='train', num_scenes=2, holdout=dict(fraction=0.5, part='val')
        )
        cfg.val_evaluator, cfg.val_cfg = dict(type='MultiTaskMetric'), dict()
        cfg.train_cfg = dict(by_epoch=True, max_epochs=4, val_interval=1)
        cfg.custom_hooks = list(hooks)
        cfg.work_dir = cfg.experiment_name = str(tmp_path / name)
        given = iter(zip(*scores.values(), strict=True))
        monkeypatch.setattr(
            MultiTaskMetric, 'compute_metrics',
            lambda *_: dict(zip(scores, next(given), strict=True)),
        )  # fmt: skip
        return Runner.from_cfg(load_config(cfg, options))

    return build


BEST = 'default_hooks.checkpoint.save_best'


@pytest.fixture
def reference(tmp_path, monkeypatch):
    # That data, labels and seed are the same is tested elsewhere.
    monkeypatch.setattr(Reference, 'check', lambda *_: None)
    file = tmp_path / 'reference.json'
    metrics = {key: 1.0 for key in SCORES if key != 'delta_m'}
    file.write_text(json.dumps(dict(metrics=metrics)))
    return {'val_evaluator.reference': str(file)}


def test_the_best_is_kept(runner, reference, tmp_path):
    run = runner('run', {BEST: list(SCORES), **reference})
    run.train()
    found = sorted(path.name for path in (tmp_path / 'run').glob('best_*'))
    assert found == [
        'best_delta_m_epoch_2.pth', 'best_depth_RMSE_epoch_2.pth',
        'best_edge_odsF_epoch_2.pth', 'best_semseg_mIoU_epoch_2.pth',
    ]  # fmt: skip


def test_a_rule_for_each_score(runner, tmp_path):
    keys = {BEST: ['semseg/mIoU', 'depth/RMSE']}
    rules = {'default_hooks.checkpoint.rule': ['greater', 'less']}
    runner('run', {**keys, **rules}).train()
    found = sorted(path.name for path in (tmp_path / 'run').glob('best_*'))
    assert found == [
        'best_depth_RMSE_epoch_2.pth', 'best_semseg_mIoU_epoch_2.pth',
    ]  # fmt: skip


def test_names_of_own_tasks_mean_nothing():
    """mmengine guesses the contrary from "acc" and "loss"."""
    tasks = build_tasks(
        {
            'accident': dict(type='depth'),
            'lossy': dict(type='semseg', num_classes=7),
        }
    )
    runner = SimpleNamespace(
        val_loop=object(),
        model=SimpleNamespace(tasks=tasks),
        val_evaluator=SimpleNamespace(metrics=[MultiTaskMetric()]),
    )
    for key, rule in (('accident/RMSE', 'less'), ('lossy/mIoU', 'greater')):
        assert choose_by(runner, 'save_best', key, None) == (key, rule)


def test_auto(runner, reference, tmp_path):
    runner('delta', {BEST: 'auto', **reference}).train()
    (best,) = (tmp_path / 'delta').glob('best_*')
    assert best.name == 'best_delta_m_epoch_2.pth'
    one = dict(depth=dict())
    scores = {'depth/RMSE': SCORES['depth/RMSE']}
    run = runner('single', {BEST: 'auto'}, one, scores)
    run.train()
    (best,) = (tmp_path / 'single').glob('best_*')
    assert best.name == 'best_depth_RMSE_epoch_2.pth'
    with pytest.raises(
        ValueError, match=r"save_best='auto': 3 tasks have no score in common"
        r'.*such as (\w+/\w+, ){3}or set val_evaluator.reference',
    ):  # fmt: skip
        runner('several', {BEST: 'auto'}).train()


STOP = dict(type='EarlyStoppingHook', min_delta=0.01, patience=1)


@pytest.mark.parametrize('key', ['semseg/mIoU', 'depth/RMSE'])
def test_early_stopping(runner, key):
    """The third epoch is the first that is not better."""
    run = runner('stop', {}, hooks=[dict(STOP, monitor=key)])
    run.train()
    assert run.epoch == 3


@pytest.mark.parametrize('better', ['less', 'greater'])
def test_what_early_stopping_counts_as_better(runner, better):
    """More than ``min_delta``, of 0.01: 0.015 is, 0.005 is not."""
    tasks, key, values = dict(depth=dict()), 'depth/RMSE', [1, 0.985, 0.98, 0]
    if better == 'greater':
        tasks, key = dict(semseg=dict(num_classes=7)), 'semseg/mIoU'
        values = [1 - value for value in values]
    hooks = [dict(STOP, monitor=key)]
    run = runner(better, {}, tasks, {key: values}, hooks)
    run.train()
    assert run.epoch == 3


@pytest.mark.parametrize(
    ('options', 'hooks', 'problem'),
    [
        ({BEST: 'depth/RSME'}, (), r"save_best='depth/RSME' is not allowed: "
         r'choose .*depth/RMSE.*, or delta_m with a val_evaluator.reference'),
        ({BEST: 'delta_m'}, (), r"save_best='delta_m' is not allowed"),
        ({BEST: 'loss'}, (), r"save_best='loss' is not allowed"),
        ({BEST: 'depth/RMSE', 'default_hooks.checkpoint.rule': 'greater'}, (),
         r"rule='greater' would choose the worst: of depth/RMSE, less is be"),
        ({BEST: 'depth/RMSE', 'default_hooks.checkpoint.rule': 'lower'}, (),
         r"rule of .*save_best='lower' is not allowed: choose 'greater', 'l"),
        ({BEST: 'depth/RMSE', 'default_hooks.checkpoint.type':
          'mmengine.CheckpointHook', 'default_hooks.checkpoint.rule':
          'greater'}, (), 'would choose the worst'),
        ({BEST: 'auto', 'default_hooks.checkpoint.type':
          'mmengine.CheckpointHook'}, (), 'take our AtomicCheckpointHook'),
        ({BEST: 'depth/RMSE', 'val_dataloader': None, 'val_evaluator': None,
          'val_cfg': None}, (), 'the run has no validation: set val_dataload'),
        ({}, [dict(STOP, monitor='depth/mIoU')],
         r"EarlyStoppingHook.monitor='depth/mIoU' is not allowed: choose"),
        ({}, [dict(STOP, monitor='depth/RMSE', rule='greater')],
         'would choose the worst: of depth/RMSE, less is better'),
        ({}, [dict(STOP, type='mmengine.EarlyStoppingHook', rule='less',
                   monitor='semseg/mIoU')], 'would choose the worst'),
        ({'param_scheduler': [dict(type='ReduceOnPlateauLR',
                                   monitor='semseg/mIoU')]}, (),
         r"param_scheduler.0.monitor='semseg/mIoU' with rule='less' would"),
        # With invpt's protocol edges have one score.
        ({BEST: 'edge/AP', 'val_evaluator.protocol': 'mtpsl',
          'tasks.edge.measures': [dict(type='RegressionError')]}, (),
         r"save_best='edge/AP' is not allowed"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_refused(runner, options, hooks, problem):
    run = runner('refused', options, hooks=hooks)
    with pytest.raises(ValueError, match=problem):
        run.train()
    assert run.iter == 0


def test_a_single_validation_is_nothing_to_choose_from(runner):
    options = {BEST: 'depth/RMSE', 'train_cfg.val_interval': 4}
    run = runner('once', options)
    said = []
    run.logger.warning = said.append
    run.train()
    assert any('there is a single validation' in text for text in said)


def test_another_score_than_the_run_that_is_resumed(runner, tmp_path):
    """Its best is no score of the new choice."""
    runner('first', {BEST: 'semseg/mIoU', 'train_cfg.max_epochs': 2}).train()
    options = {
        BEST: 'edge/odsF', 'resume': True,
        'load_from': str(tmp_path / 'first' / 'epoch_2.pth'),
    }  # fmt: skip
    runner('second', options).train()
    (best,) = (tmp_path / 'second').glob('best_*')
    # Of the scores 10 and 30, after a best of 40 by the other.
    assert best.name == 'best_edge_odsF_epoch_4.pth'
