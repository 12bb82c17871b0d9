"""A test of a broken network ends with an error, and with no score."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmprotomtl.engine.finite_predictions_hook import NonFinitePredictionError
from mmprotomtl.models import MultiTaskSegmentor
from mmprotomtl.registry import MODELS
from mmprotomtl.testing import PLAIN, tiny_cfg, tiny_run
from tests.conftest import ROOT

TASKS = dict(semseg=dict(num_classes=7), depth=dict())


@MODELS.register_module(force=True)
class BreakingSegmentor(MultiTaskSegmentor):
    """Gives a value that is none in one pixel of one task and image."""

    broken = ('semseg', 4, float('nan'))

    def inference(self, inputs, data_samples):
        logits = super().inference(inputs, data_samples)
        task, place, value = self.broken
        for sample, logit in zip(data_samples, logits, strict=True):
            if sample.metainfo['sample_id'].endswith(str(place)):
                logit[task] = logit[task].clone()
                logit[task][0, 0, 3, 5] = value
        return logits


@pytest.fixture
def runner(tmp_path, monkeypatch):
    def build(broken, **settings):
        monkeypatch.setattr(BreakingSegmentor, 'broken', broken)
        cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
        cfg.merge_from_dict(tiny_run(TASKS))
        cfg.model = tiny_cfg(TASKS, type='BreakingSegmentor', **PLAIN)
        cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
        cfg.train_dataloader.dataset.num_scenes = 4
        cfg.train_cfg.max_epochs = 1
        cfg.custom_hooks = [
            dict(type='SavePredictionsHook', out_dir=str(tmp_path / 'out'))
        ]
        cfg.work_dir = str(tmp_path)
        cfg.experiment_name = f'{tmp_path.name}-{broken}'
        cfg.merge_from_dict(settings)
        return Runner.from_cfg(cfg)

    return build


@pytest.mark.parametrize(
    'broken',
    [
        # A class is made of it, which is a number.
        ('semseg', 4, float('nan')),
        ('semseg', 5, float('inf')),
        ('depth', 0, float('-inf')),
    ],
)
def test_task_and_image_are_named(runner, tmp_path, broken):
    task, place, _ = broken
    with pytest.raises(NonFinitePredictionError) as error:
        runner(broken).test()
    told = f'/{place}/image: the prediction of {task} has NaN or infinite'
    assert told in str(error.value)
    assert not (tmp_path / 'metrics.json').exists()
    # The images of its batch are saved no more.
    saved = {path.stem for path in (tmp_path / 'out' / task).glob('*')}
    assert len(saved) == place // 4 * 4


def test_it_can_be_allowed(runner, tmp_path):
    key = 'default_hooks.finite_predictions.allow'
    runner(('semseg', 4, float('nan')), **{key: True}).test()
    assert (tmp_path / 'metrics.json').exists()
    (log,) = tmp_path.glob('*/*.log')
    assert log.read_text().count('the prediction of semseg has NaN') == 1


def test_a_finite_network_passes(runner, tmp_path):
    runner(('semseg', 'nowhere', 0.0)).test()
    assert (tmp_path / 'metrics.json').exists()


def test_a_validation_warns_and_training_goes_on(runner, tmp_path):
    run = runner(('semseg', 4, float('nan')))
    cfg = run.cfg
    cfg.val_dataloader, cfg.val_evaluator = (
        cfg.test_dataloader, cfg.test_evaluator,
    )  # fmt: skip
    cfg.val_cfg, cfg.experiment_name = dict(), f'{cfg.experiment_name}-val'
    Runner.from_cfg(cfg).train()
    assert (tmp_path / 'epoch_1.pth').exists()
    text = ''.join(log.read_text() for log in tmp_path.glob('*/*.log'))
    assert text.count('the prediction of semseg has NaN') == 1


def test_the_tool(tiny_config, tool, tmp_path):
    """Of a checkpoint with a broken weight."""
    cfg = Config.fromfile(tiny_config)
    model = MODELS.build(cfg.model)
    state = model.state_dict()
    state['head.blocks.1.ffn.2.bias'][0] = torch.nan
    path = tmp_path / 'broken.pth'
    torch.save(dict(meta={}, state_dict=state), path)
    done = tool(
        'tools/test.py', tiny_config, path, '--work-dir', tmp_path,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    *_, last = done.stdout.strip().splitlines()
    tasks = ', '.join(sorted(model.tasks))
    assert f'Error: synthetic://2/0/image: the prediction of {tasks} ' in last
    assert 'mIoU' not in done.stdout
    assert not Path(tmp_path, 'metrics.json').exists()
