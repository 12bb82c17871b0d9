from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from mmprotomtl.engine import non_finite_loss_hook
from mmprotomtl.registry import TASKS
from mmprotomtl.tasks import DepthTask
from mmprotomtl.testing import tiny_run
from tests.conftest import ROOT

STEPS = []


@TASKS.register_module(force=True)
class BreakingDepth(DepthTask):
    """Depth whose loss is NaN in some steps, and whose gradient in others."""

    broken = ()
    steep = ()

    def loss(self, logits, label):
        loss, count = super().loss(logits, label)
        STEPS.append(len(STEPS) + 1)
        if STEPS[-1] in self.broken:
            loss = loss * torch.nan
        if STEPS[-1] in self.steep:
            # 0, with an infinite slope.
            loss = loss + torch.sqrt(logits.sum() * 0)
        return loss, count


@pytest.fixture
def runner(tmp_path, monkeypatch):
    def build(action, broken, **settings):
        STEPS.clear()
        monkeypatch.setattr(BreakingDepth, 'broken', broken)
        cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
        tasks = dict(
            semseg=dict(num_classes=7), depth=dict(type='BreakingDepth')
        )
        cfg.merge_from_dict(tiny_run(tasks))
        cfg.train_dataloader.dataset.pop('partial_labels')
        cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
        cfg.train_cfg.max_epochs = 1
        cfg.default_hooks.non_finite_loss.update(action=action, **settings)
        cfg.work_dir = str(tmp_path)
        cfg.experiment_name = f'{tmp_path.name}-{len(broken)}'
        return Runner.from_cfg(cfg)

    return build


def test_stop(runner, tmp_path):
    run = runner('stop', (3,))
    with pytest.raises(
        non_finite_loss_hook.NonFiniteLossError,
        match=r'^step 3: depth.loss is NaN or infinite. Images of the step: '
        r'\S+, \S+, \S+, \S+\. No checkpoint',
    ):
        run.train()
    assert not list(tmp_path.glob('*.pth'))


def test_the_last_step_writes_no_checkpoint(runner, tmp_path):
    with pytest.raises(non_finite_loss_hook.NonFiniteLossError, match='p 6:'):
        runner('stop', (6,)).train()
    assert not list(tmp_path.glob('*.pth'))


def test_skip(runner, tmp_path):
    run = runner('skip', (2, 5))
    before = []
    run.register_hook(Watch(before), priority='VERY_LOW')
    run.train()
    moved = [not torch.equal(a, b) for a, b in zip(before, before[1:])]  # noqa: B905, RUF007
    assert moved == [False, True, True, False, True]
    assert (tmp_path / 'epoch_1.pth').exists()


def test_a_skipped_step_drops_what_was_accumulated():
    """Steps 1 and 2 make an update, and so on. Step 2 is broken, so that the
    gradient of step 1 is lost, and none of it is in the update of 3 and 4.
    """
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    model = torch.nn.ParameterList([weight])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = OptimWrapper(optimizer, accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 6)
    warnings = []
    runner = SimpleNamespace(
        optim_wrapper=wrapper, iter=0,
        logger=SimpleNamespace(warning=warnings.append),
    )  # fmt: skip
    hook = non_finite_loss_hook.NonFiniteLossHook('skip')
    hook.before_train(runner)
    inputs = torch.tensor(
        [[1.0, 5], [torch.nan, 1], [2, 3], [4, -1], [0.5, 1], [1, 1]]
    )
    seen = []
    for step, value in enumerate(inputs):
        runner.iter = step
        wrapper.update_params((weight * value).sum())
        seen.append(weight.detach().clone())
    start = torch.tensor([1.0, -2.0])
    second = start - 0.1 * (inputs[2] + inputs[3]) / 2
    third = second - 0.1 * (inputs[4] + inputs[5]) / 2
    expected = [start, start, start, second, second, third]
    torch.testing.assert_close(torch.stack(seen), torch.stack(expected))
    assert len(warnings) == 1 and warnings[0].startswith('step 2 skipped')


@pytest.mark.parametrize('action', ['stop', 'skip'])
def test_broken_weights_are_not_written(runner, tmp_path, monkeypatch, action):
    """The loss of the last step of the second epoch is finite, its gradient
    is not.
    """
    monkeypatch.setattr(BreakingDepth, 'steep', (12,))
    run = runner(action, ())
    run.cfg.train_cfg.max_epochs = 3
    run.cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    run.cfg.experiment_name = f'{tmp_path.name}-steep'
    run = Runner.from_cfg(run.cfg)
    with pytest.raises(non_finite_loss_hook.NonFiniteLossError) as error:
        run.train()
    good = tmp_path / 'epoch_1.pth'
    text = str(error.value)
    assert text.startswith('after step 12: ')
    assert f'The last good checkpoint is {good}. Go on with --res' in text
    assert [path.name for path in tmp_path.glob('*.pth')] == [good.name]
    state = torch.load(good, weights_only=False)['state_dict']
    assert all(value.isfinite().all() for value in state.values())
    # All that is named is broken in the network.
    named = text.split('such as ')[1].split('. Images')[0].split(', ')
    weights = run.model.state_dict()
    assert not any(weights[name].isfinite().all() for name in named)


def test_patience(runner):
    with pytest.raises(
        non_finite_loss_hook.NonFiniteLossError, match='for the 3th step'
    ):
        runner('skip', (2, 3, 4), patience=2).train()


def test_action_is_checked():
    with pytest.raises(ValueError, match="'stop', 'skip'"):
        non_finite_loss_hook.NonFiniteLossHook('ignore')


class Watch(non_finite_loss_hook.Hook):
    """Keeps a weight after each step."""

    def __init__(self, kept):
        self.kept = kept

    def after_train_iter(self, runner, *args, **kwargs):
        self.kept.append(runner.model.neck.prototypes.detach().clone())
