"""Weights that are not those of the network are refused, wherever they are
loaded.
"""

import copy
import json
import logging
import re
import runpy
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner, save_checkpoint

from mmprotomtl.apis import MultiTaskInferencer
from mmprotomtl.engine import load_config
from mmprotomtl.models.checkpoint_fit import load_weights, weights_of
from mmprotomtl.registry import MODELS
from mmprotomtl.scenes.renderer import render
from mmprotomtl.testing import PLAIN, TASKS, tiny_cfg
from tests.conftest import ROOT

KEPT = {name: TASKS[name] for name in ('semseg', 'depth')}
EMA = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.5)]


@pytest.fixture(scope='module', autouse=True)
def _quick():
    """mmengine lays out the text of a config each time that it logs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            'yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)
        )
        yield


@pytest.fixture(scope='module')
def config(tiny_config):
    """A small run of two tasks, as a user's file says it: the tasks once."""
    cfg = Config.fromfile(tiny_config)
    cfg.tasks = KEPT
    cfg.model = tiny_cfg(KEPT, **PLAIN)
    del cfg.model['tasks']
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        del loader.dataset['tasks']
        loader.num_workers = 0
        loader.persistent_workers = False
    cfg.train_dataloader.dataset.num_scenes = 4
    cfg.test_dataloader.dataset.num_scenes = 2
    cfg.train_cfg.max_epochs = 1
    return cfg


@pytest.fixture
def run(config, tmp_path):
    """Makes a runner of the config and some options."""

    def make(checkpoint=None, hooks=(), **options):
        cfg = copy.deepcopy(config)
        cfg.work_dir = str(tmp_path / 'run')
        cfg.load_from = None if checkpoint is None else str(checkpoint)
        cfg.custom_hooks = [*cfg.custom_hooks, *hooks]
        return Runner.from_cfg(load_config(cfg, options))

    return make


def saved(path, weights, **meta):
    save_checkpoint(dict(state_dict=weights, meta=meta), str(path))
    return path


def weights_for(config, tasks=KEPT, seed=3, **parts):
    """Weights of a network of the config, or of another one."""
    torch.manual_seed(seed)
    cfg = tiny_cfg(tasks, **{**PLAIN, **parts})
    return MODELS.build(cfg).state_dict()


@pytest.fixture
def checkpoint(config, tmp_path):
    return saved(
        tmp_path / 'a.pth',
        weights_for(config),
        cfg=load_config(config).pretty_text,
    )


class Messages(logging.Handler):
    """What a run logs."""

    def __init__(self):
        super().__init__()
        self.found = []

    def emit(self, record):
        self.found.append(record.getMessage())

    @property
    def text(self):
        return '\n'.join(self.found)


def listen():
    messages = Messages()
    MMLogger.get_current_instance().addHandler(messages)
    return messages


OTHERS = {
    'other classes': (
        dict(tasks={**KEPT, 'semseg': dict(num_classes=5)}),
        [
            r'\d of another shape: .*head\S*: copying a param .*'
            r'\[5\D.*current model is torch.Size\(\[7\D'
        ],
        ['missing in it', 'not of this network'],
    ),
    'a task less': (
        dict(tasks=dict(depth={})),
        [r'12 missing in it: neck', r'2 of another shape|2 missing'],
        [],
    ),
    'a task more': (
        dict(tasks={**KEPT, 'normals': {}}),
        [r'\d+ not of this network: neck\.decoders\.2'],
        ['missing in it'],
    ),
    'another network': (
        dict(head=None, neck=None),
        [r'60 not of this network: neck\.prototypes, '],
        ['another shape'],
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', OTHERS)
def test_each_kind_of_misfit(config, run, tmp_path, name):
    given, told, untold = OTHERS[name]
    path = saved(tmp_path / 'b.pth', weights_for(config, **given))
    with pytest.raises(ValueError) as test:
        run(path).test()
    assert not (tmp_path / 'run' / 'metrics.json').exists()
    with pytest.raises(ValueError) as infer:
        MultiTaskInferencer(copy.deepcopy(config), str(path), 'cpu')
    with pytest.raises(ValueError) as train:
        run(path).train()
    for error in (test, infer, train):
        text = str(error.value)
        assert text.startswith(f'{path}: ')
        for pattern in told:
            assert re.search(pattern, text), text
        for pattern in untold:
            assert pattern not in text
    assert 'allow_partial=True' in str(infer.value)
    assert '--allow-partial' in str(test.value)


@pytest.fixture
def test_tool(monkeypatch):
    """Runs tools/test.py in this process."""

    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['test.py', *map(str, args)])
        runpy.run_path(str(ROOT / 'tools/test.py'), run_name='__main__')

    return run


def test_the_command_line(config, tool, test_tool, tmp_path):
    """Exit code, no score, no metrics.json; and a way to insist."""
    config.dump(tmp_path / 'config.py')
    five = {**KEPT, 'semseg': dict(num_classes=5)}
    path = saved(tmp_path / 'five.pth', weights_for(config, five))
    command = (tmp_path / 'config.py', path, '--work-dir')
    done = tool('tools/test.py', *command, tmp_path / 'refused', check=False)
    assert done.returncode != 0
    assert 'of another shape: ' in done.stdout
    assert 'semseg/mIoU' not in done.stdout
    assert not list((tmp_path / 'refused').rglob('metrics.json'))
    test_tool(*command, tmp_path / 'insisted', '--allow-partial')
    (log,) = (tmp_path / 'insisted').rglob('*.log')
    assert (
        'weights are loaded, and 2 of the network stay as' in log.read_text()
    )
    assert '2 of another shape: head.predictors.1.weight' in log.read_text()
    report = json.loads((tmp_path / 'insisted/metrics.json').read_text())
    assert 'semseg/mIoU' in report['metrics']
    assert report['allow_partial'] is True


def test_what_fine_tuning_allows_a_test_does_not(config, test_tool, tmp_path):
    """The config's own leave is for training."""
    cfg = copy.deepcopy(config)
    cfg.allow_partial = True
    cfg.dump(tmp_path / 'config.py')
    path = saved(tmp_path / 'b.pth', weights_for(config, dict(depth={})))
    command = (tmp_path / 'config.py', path, '--work-dir')
    with pytest.raises(ValueError, match='missing in it'):
        test_tool(*command, tmp_path / 'a')
    test_tool(*command, tmp_path / 'b', '--cfg-options', 'allow_partial=True')


def test_a_config_without_the_hook_is_checked_too(config, run, tmp_path):
    del config.default_hooks['checkpoint_fit']
    path = saved(tmp_path / 'b.pth', weights_for(config, dict(depth={})))
    try:
        for hooks in (config.default_hooks, None, {}):
            cfg = copy.deepcopy(config)
            cfg.default_hooks = hooks
            cfg.load_from = str(path)
            cfg.work_dir = str(tmp_path)
            with pytest.raises(ValueError, match='missing in it'):
                Runner.from_cfg(load_config(cfg)).test()
        with pytest.raises(ValueError, match='checkpoint_fit=None is not al'):
            load_config(config, {'default_hooks.checkpoint_fit': None})
    finally:
        config.default_hooks.checkpoint_fit = dict(type='CheckpointFitHook')


def test_fine_tuning(config, run, tmp_path):
    """What fits is loaded, if it is asked for; the rest is as it was."""
    five = {**KEPT, 'semseg': dict(num_classes=5)}
    given = weights_for(config, five)
    path = saved(tmp_path / 'five.pth', given)
    runner = run(path, allow_partial=True)
    before = copy.deepcopy(runner.model.state_dict())
    messages = listen()
    runner.load_or_resume()
    assert 'of another shape: ' in messages.text
    after = runner.model.state_dict()
    same = [n for n in after if after[n].shape == given[n].shape]
    assert 0 < len(after) - len(same) < 5
    for name, value in after.items():
        source = given if name in same else before
        assert torch.equal(value, source[name]), name
    with pytest.raises(ValueError, match=r"allow_partial='yes' is not allow"):
        run(path, allow_partial='yes').load_or_resume()


def test_nothing_fits(config, run, tmp_path):
    path = saved(tmp_path / 'b.pth', dict(other=torch.zeros(3)))
    for allowed in (False, True):
        with pytest.raises(ValueError, match=r'none of its 1 weights \(other'):
            run(path, allow_partial=allowed).test()
    with pytest.raises(ValueError, match='none of its'):
        MultiTaskInferencer(config, str(path), 'cpu', allow_partial=True)


def test_the_inferencer_insists(config, tmp_path):
    path = saved(tmp_path / 'b.pth', weights_for(config, dict(depth={})))
    messages = listen()
    infer = MultiTaskInferencer(
        copy.deepcopy(config), str(path), 'cpu', allow_partial=True
    )
    assert 'missing in it: ' in messages.text
    assert set(infer.model.tasks) == set(KEPT)


def score(runner):
    return {
        name: value
        for name, value in runner.test().items()
        if name.startswith(('depth', 'semseg'))
    }


@pytest.mark.parametrize('hooks', [[], EMA], ids=['plain', 'average'])
def test_prefixes_and_raw_files(config, run, checkpoint, tmp_path, hooks):
    """As a process of several saves them, and weights without anything; a
    run that keeps an average takes them too.
    """
    expected = score(run(checkpoint))
    weights = torch.load(checkpoint, weights_only=False)['state_dict']
    prefixed = {f'module.{name}': value for name, value in weights.items()}
    image = render(0, 0, (32, 48)).image
    maps = MultiTaskInferencer(weights=str(checkpoint), device='cpu')(image)
    for kind, stored in (
        ('prefixed', dict(state_dict=prefixed)),
        ('raw', weights),
        ('raw and prefixed', prefixed),
    ):
        path = tmp_path / f'{kind}.pth'
        torch.save(stored, path)
        assert score(run(path, hooks)) == expected, kind
        infer = MultiTaskInferencer(copy.deepcopy(config), str(path), 'cpu')
        for name, value in infer(image)['predictions'][0].items():
            assert np.array_equal(value, maps['predictions'][0][name])


@pytest.fixture(scope='module')
def averaged(config, tmp_path_factory):
    """The checkpoint of a run that keeps a moving average."""
    cfg = copy.deepcopy(config)
    cfg.work_dir = str(tmp_path_factory.mktemp('averaged'))
    cfg.custom_hooks = [*cfg.custom_hooks, *EMA]
    # The average starts as the weights after the first of three steps.
    cfg.train_dataloader.dataset.num_scenes = 12
    Runner.from_cfg(load_config(cfg)).train()
    return f'{cfg.work_dir}/epoch_1.pth'


def test_the_average_is_what_is_tested(config, run, averaged, tmp_path):
    """By a run with and without the hook, by the inferencer, and where it is
    published.
    """
    stored = torch.load(averaged, weights_only=False)
    average = stored['state_dict']
    trained = weights_of(dict(state_dict=stored['ema_state_dict']))
    name = next(n for n in average if n.startswith('head'))
    assert not torch.equal(average[name], trained[name])
    scores = [score(run(averaged, hooks)) for hooks in ([], EMA)]
    assert scores[0] == scores[1]
    trained.pop('steps')
    plain = saved(tmp_path / 'trained.pth', trained)
    assert score(run(plain)) != scores[0]
    infer = MultiTaskInferencer(copy.deepcopy(config), averaged, 'cpu')
    assert torch.equal(infer.model.state_dict()[name], average[name])
    tool = runpy.run_path(str(ROOT / 'tools/misc/publish_model.py'))
    path = tool['publish'](averaged, str(tmp_path / 'published'))
    published = torch.load(path)['state_dict']
    assert published.keys() == average.keys()
    for key, value in average.items():
        assert torch.equal(published[key], value), key


def test_to_resume_all_has_to_fit(config, run, averaged, tmp_path):
    resume = {
        'resume': True,
        'allow_partial': True,
        # As in the run that is resumed.
        'train_dataloader.dataset.num_scenes': 12,
    }
    with pytest.raises(ValueError, match='kept a moving average'):
        run(averaged, **resume).train()
    runner = run(averaged, EMA, **resume)
    runner.train()
    stored = torch.load(averaged, weights_only=False)
    trained = weights_of(dict(state_dict=stored['ema_state_dict']))
    for name, value in runner.model.state_dict().items():
        assert torch.equal(value, trained[name]), name
    # One of the two sets of weights is not whole.
    for kind in ('state_dict', 'ema_state_dict'):
        other = copy.deepcopy(stored)
        gone = next(name for name in other[kind] if 'head' in name)
        del other[kind][gone]
        path = tmp_path / f'{kind}.pth'
        torch.save(other, path)
        with pytest.raises(ValueError, match='1 missing in it: head') as error:
            run(path, EMA, **resume).train()
        assert ('(ema_state_dict)' in str(error.value)) == kind.startswith('e')
    # What holds no state of a run.
    path = saved(tmp_path / 'weights.pth', stored['state_dict'], epoch=1)
    with pytest.raises(ValueError, match='it has no state of optimizer'):
        run(path, **resume).train()


@pytest.mark.parametrize(
    ('task', 'setting', 'theirs'),
    [
        ('semseg', 'classes', tuple('abcdefg')),
        ('depth', 'unit', 'disparity'),
    ],
)
def test_weights_that_mean_something_else(
    config, run, tmp_path, task, setting, theirs
):
    """They fit in number and shape."""
    args = dict(KEPT[task], **{setting: theirs})
    path = saved(
        tmp_path / 'b.pth',
        weights_for(config),
        dataset_meta=dict(tasks={task: args}),
    )
    told = rf'tasks\.{task}\.{setting} is .* in this run, but .*{theirs[0]}'
    with pytest.raises(ValueError, match=told):
        run(path).test()
    with pytest.raises(ValueError, match=told):
        MultiTaskInferencer(copy.deepcopy(config), str(path), 'cpu')
    # To learn them anew is what fine-tuning is for.
    run(path).train()
    runner = run(path, allow_partial=True)
    messages = listen()
    runner.test()
    assert f'tasks.{task}.{setting} is' in messages.text


def test_weights_of_other_tasks(config, run, tmp_path):
    """They fit too: the parts of the network are numbered."""
    tasks = dict(semseg=KEPT['semseg'], edge={})
    path = saved(
        tmp_path / 'b.pth',
        weights_for(config),
        dataset_meta=dict(tasks=tasks),
    )
    told = r"tasks are \['depth', 'semseg'\] in this run, but \['edge', 'sems"
    with pytest.raises(ValueError, match=told):
        run(path).test()


def test_the_model_reads_what_older_versions_stored():
    """Only loading tells what fits: a module may rename what it finds."""

    class Renamed(torch.nn.Linear):
        def _load_from_state_dict(self, state, prefix, *args):
            if f'{prefix}old' in state:
                state[f'{prefix}weight'] = state.pop(f'{prefix}old')
            super()._load_from_state_dict(state, prefix, *args)

    model = torch.nn.Sequential(Renamed(2, 3, bias=False))
    misfit = load_weights(model, {'0.old': torch.ones(3, 2)})
    assert not any(misfit)
    assert (model[0].weight == 1).all()
    misfit = load_weights(
        model, {'0.old': torch.ones(4, 2), 'x': torch.ones(1)}
    )
    assert misfit.unexpected == ['x'] and len(misfit.shapes) == 1
    assert misfit.shapes[0].startswith('0.weight: ')
    assert load_weights(model, {}).missing == ['0.weight']
