"""A resumed run is the run that was begun, bit by bit, or is refused."""

import copy
import json
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from mmprotomtl.datasets.samplers import SeededSampler
from mmprotomtl.engine import load_config
from mmprotomtl.engine.run_record import differences
from mmprotomtl.engine.same_run_hook import OtherRunError
from mmprotomtl.registry import RUNNERS
from mmprotomtl.testing import PLAIN, tiny_cfg, tiny_run
from tests.conftest import ROOT

TASKS = dict(semseg=dict(num_classes=7), depth=dict())
#: Of an epoch.
STEPS = 5


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    # mmengine formats the config several times, which takes most of the time.
    monkeypatch.setattr(
        'yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)
    )


def config(work_dir, **settings):
    """A run of two epochs of five steps; a checkpoint after each step."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run(TASKS))
    cfg.model = tiny_cfg(TASKS, **PLAIN)
    # So that what the model draws matters.
    cfg.model.backbone.drop_path_rate = 0.2
    cfg.train_dataloader.dataset.num_scenes = 2 * STEPS
    cfg.train_dataloader.update(
        num_workers=0, persistent_workers=False, batch_size=2
    )
    cfg.train_cfg = dict(by_epoch=True, max_epochs=2)
    cfg.param_scheduler = [
        dict(type='MultiStepLR', milestones=[1], by_epoch=True),
        dict(type='LinearLR', start_factor=0.1, by_epoch=False),
    ]
    cfg.default_hooks.checkpoint.update(
        by_epoch=False, interval=1, max_keep_ckpts=-1
    )
    cfg.work_dir = str(work_dir)
    cfg.merge_from_dict(settings)
    return cfg


class Numbers(Hook):
    """Keeps iteration, number in the epoch and images of each step."""

    def __init__(self):
        self.kept = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        ids = [s.metainfo['sample_id'] for s in data_batch['data_samples']]
        self.kept.append((runner.iter, batch_idx, ids))


def train(cfg, load_from=None, hooks=(), **hook):
    """Train; returns the steps."""
    cfg = load_config(cfg)
    cfg.default_hooks.same_run.update(hook)
    cfg.experiment_name = f'{cfg.work_dir}-{id(cfg)}'
    if load_from is not None:
        cfg.load_from, cfg.resume = str(load_from), True
    runner = RUNNERS.build(cfg)
    numbers = Numbers()
    for more in (numbers, *hooks):
        runner.register_hook(more)
    runner.train()
    return numbers.kept


def read(path):
    return torch.load(path, weights_only=False)


def same(a, b, place=''):
    """Whether two checkpoints are, bit by bit, in all that moves on."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), place
    elif isinstance(a, dict):
        assert list(a) == list(b), place
        for key in a:
            same(a[key], b[key], f'{place}.{key}')
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), place
        for number, pair in enumerate(zip(a, b, strict=True)):
            same(*pair, f'{place}.{number}')
    else:
        assert a == b, place


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    """A run without interruption, and its steps."""
    work_dir = tmp_path_factory.mktemp('straight')
    return work_dir, train(config(work_dir))


# Within the first epoch, at its end before the schedules of epochs have
# stepped, within the second.
@pytest.mark.parametrize(('step', 'workers'), [(3, 0), (5, 0), (7, 2)])
def test_it_goes_on_within_an_epoch(straight, tmp_path, step, workers):
    folder, steps = straight
    cfg = config(tmp_path)
    cfg.train_dataloader.update(
        num_workers=workers, persistent_workers=workers > 0
    )
    assert train(cfg, folder / f'iter_{step}.pth') == steps[step:]
    expected = read(folder / 'iter_10.pth')
    found = read(tmp_path / 'iter_10.pth')
    for key in ('state_dict', 'optimizer', 'param_schedulers'):
        same(found[key], expected[key], key)
    assert found['meta']['run']['resumed_with_differences'] == []


def test_a_sampler_that_can_not_begin_there(straight, tmp_path, monkeypatch):
    monkeypatch.delattr(SeededSampler, 'leave_out')
    with pytest.raises(OtherRunError, match='after 3 of 5 iterations, and a'):
        train(config(tmp_path), straight[0] / 'iter_3.pth')


def test_the_sampler_leaves_out_once():
    sampler = SeededSampler(range(7), seed=3)
    whole = [(int(i), i.seed) for i in sampler]
    sampler.leave_out(4)
    assert len(sampler) == 7
    assert [(int(i), i.seed) for i in sampler] == whole[4:]
    assert [(int(i), i.seed) for i in sampler] == whole


OTHERS = {
    'randomness.seed': (5, {'seed': (0, 5)}),
    'train_dataloader.dataset.partial_labels.seed': (
        1, {'label_mask': None},
    ),
    'train_dataloader.batch_size': (
        4,
        {
            'batch_size': (2, 4), 'effective_batch_size': (2, 4),
            'iterations_per_epoch': (5, 3),
        },
    ),
    'optim_wrapper.accumulative_counts': (
        2,
        {
            'accumulative_counts': (1, 2), 'effective_batch_size': (2, 4),
        },
    ),
    'tasks.depth.loss_weight': (3.0, {'tasks.depth.loss_weight': None}),
    'train_dataloader.sampler.shuffle': (False, {'shuffle': (True, False)}),
    'train_dataloader.dataset.num_scenes': (
        9,
        {
            'train_data.images': (10, 9), 'train_data.ids': None,
            'label_mask': None,
        },
    ),
    # The same images, which a sampler takes in another order.
    'train_dataloader.dataset.indices': (
        [*range(9, -1, -1)], {'train_data.ids': None},
    ),
    'optim_wrapper.optimizer.type': ('Adam', {'optimizer': None}),
}  # fmt: skip


@pytest.mark.parametrize('key', OTHERS)
def test_other_settings_are_refused(straight, tmp_path, key):
    value, expected = OTHERS[key]
    cfg = config(tmp_path, **{key: value})
    with pytest.raises(OtherRunError) as error:
        train(cfg, straight[0] / 'iter_4.pth')
    text = str(error.value)
    assert text.startswith(f'{straight[0] / "iter_4.pth"}: ')
    assert '--resume-anyway' in text
    rows = {
        cells[1].strip(): tuple(cell.strip() for cell in cells[2:4])
        for cells in (line.split('|') for line in text.splitlines())
        if len(cells) == 5 and cells[1].strip() not in ('setting', '')
    }
    assert set(rows) == set(expected)
    for setting, pair in expected.items():
        then, now = rows[setting]
        assert then != now
        if pair is not None:
            assert (then, now) == tuple(map(str, pair)), setting
    assert not list(tmp_path.glob('*.pth'))


def test_other_tasks_and_classes_are_refused(straight, tmp_path):
    path = straight[0] / 'iter_5.pth'
    cfg = config(tmp_path)
    for holder in (cfg, cfg.model, cfg.train_dataloader.dataset,
                   cfg.test_dataloader.dataset):  # fmt: skip
        holder.tasks = dict(TASKS, edge=dict(num_thresholds=9))
    with pytest.raises(
        OtherRunError, match=r'tasks +\| depth, semseg +\| depth, edge, s'
    ):
        train(cfg, path)
    then = read(path)['meta']['run']['settings']
    now = copy.deepcopy(then)
    now['tasks.semseg.num_classes'] = 8
    (row,) = differences(then, now)
    assert row == ('tasks.semseg.num_classes', 7, 8)


def test_number_of_processes(straight):
    """Of two, each with half the batch, the sum of all steps is the same."""
    then = read(straight[0] / 'iter_5.pth')['meta']['run']['settings']
    assert then['processes'] == 1
    now = dict(then, processes=2, batch_size=1)
    assert [row.setting for row in differences(then, now)] == [
        'processes', 'batch_size',
    ]  # fmt: skip


def test_the_same_labels_from_a_file_are_the_same(straight):
    then = read(straight[0] / 'iter_5.pth')['meta']['run']['settings']
    now = copy.deepcopy(then)
    now['label_mask'].update(protocol='file', seed=None)
    assert list(differences(then, now)) == []


def test_what_may_differ(straight, tmp_path):
    cfg = config(tmp_path, **{
        'train_cfg.max_epochs': 1, 'default_hooks.logger.interval': 7,
        'default_hooks.checkpoint.interval': 3, 'log_level': 'WARNING',
        'optim_wrapper.optimizer.lr': 1e-4,
    })  # fmt: skip
    cfg.param_scheduler = [dict(type='LinearLR', by_epoch=False)]
    assert len(train(cfg, straight[0] / 'iter_3.pth')) == 2
    meta = read(tmp_path / 'iter_5.pth')['meta']
    assert meta['run']['resumed_with_differences'] == []


def test_anyway(straight, tmp_path):
    """It is said in all checkpoints from then on, also after resumes of the
    mixed run, and in metrics.json.
    """
    first, second = tmp_path / 'first', tmp_path / 'second'
    settings = {'randomness.seed': 5, 'train_dataloader.batch_size': 4}
    cfg = config(first, **settings)
    steps = train(cfg, straight[0] / 'iter_5.pth', allow_differences=True)
    # The second epoch, as the new settings have it.
    fresh = train(config(tmp_path / 'fresh', **settings))
    assert [step[1:] for step in steps] == [step[1:] for step in fresh[-3:]]
    train(config(second, **settings), first / 'iter_4.pth')
    expected = [
        dict(setting='seed', then=0, now=5, epoch=0, iter=5),
        dict(setting='batch_size', then=2, now=4, epoch=0, iter=5),
    ]
    for path in (first / 'iter_6.pth', second / 'iter_6.pth'):
        found = read(path)['meta']['run']['resumed_with_differences']
        assert found[:2] == expected
    cfg = load_config(config(tmp_path / 'tested', **settings))
    cfg.load_from = str(second / 'iter_6.pth')
    RUNNERS.build(cfg).test()
    report = json.loads((tmp_path / 'tested' / 'metrics.json').read_text())
    assert report['resumed_with_differences'][:2] == expected
    # Within an epoch of another length there is no such place.
    cfg = config(tmp_path / 'third', **settings)
    with pytest.raises(OtherRunError, match='3 of 5 iterations, and one'):
        train(cfg, straight[0] / 'iter_3.pth', allow_differences=True)


def test_accumulated_gradients(tmp_path):
    """Two steps make an update: after an odd one a half of it is lost."""
    settings = {'optim_wrapper.accumulative_counts': 2}
    folder = tmp_path / 'straight'
    steps = train(config(folder, **settings))
    again = config(tmp_path / 'again', **settings)
    with pytest.raises(
        OtherRunError, match=r'accumulated gradients \| of 1 steps \| lost'
    ):
        train(again, folder / 'iter_3.pth')
    assert train(again, folder / 'iter_4.pth') == steps[4:]
    same(
        read(tmp_path / 'again' / 'iter_10.pth')['state_dict'],
        read(folder / 'iter_10.pth')['state_dict'],
    )


def test_images_that_would_begin_anew(tmp_path):
    settings = {'train_dataloader.sampler.type': 'SeededInfiniteSampler'}
    loop = dict(type='IterBasedTrainLoop', max_iters=4)
    cfg = config(tmp_path / 'straight', **settings)
    cfg.param_scheduler, cfg.train_cfg = None, loop
    steps = train(cfg)
    path = tmp_path / 'straight' / 'iter_2.pth'
    cfg.work_dir = str(tmp_path / 'again')
    assert train(cfg, path) == steps[2:]
    cfg.train_cfg = dict(loop, fast_forward_on_resume=True)
    with pytest.raises(OtherRunError, match='order of the images'):
        train(cfg, path)


def test_an_old_checkpoint(straight, tmp_path):
    """What it says is compared: seed, labels, tasks."""
    state = read(straight[0] / 'iter_5.pth')
    del state['meta']['run']
    old = tmp_path / 'iter_5.pth'
    torch.save(state, old)
    assert len(train(config(tmp_path / 'a'), old)) == 5
    (log,) = (tmp_path / 'a').glob('*/*.log')
    (warning,) = re.findall(r'does not say whether.*', log.read_text())
    assert 'batch_size' in warning and 'train_data.ids' in warning
    assert 'seed' not in re.split(r'\W+', warning)
    for key, setting in {
        'randomness.seed': 'seed',
        'train_dataloader.dataset.partial_labels.seed': 'label_mask',
    }.items():
        value, _ = OTHERS[key]
        with pytest.raises(OtherRunError, match=rf'\| {setting} +\|'):
            train(config(tmp_path / 'b', **{key: value}), old)
    cfg = config(tmp_path / 'c')
    del cfg.train_dataloader.dataset.partial_labels
    with pytest.raises(
        OtherRunError, match=r'label_mask \| .*one-label.*\| -'
    ):
        train(cfg, old)


def test_the_record_is_made_of_plain_values(straight):
    meta = read(straight[0] / 'iter_5.pth')['meta']['run']
    assert json.loads(json.dumps(meta)) == meta


def test_the_tool(straight, tmp_path, tool):
    path = tmp_path / 'config.py'
    config(tmp_path / 'run').dump(path)
    command = [
        'tools/train.py', path, '--seed', 3, '--resume',
        straight[0] / 'iter_9.pth',
    ]  # fmt: skip
    done = tool(*command, check=False)
    assert done.returncode == 1 and 'OtherRunError' in done.stdout
    tool(*command, '--resume-anyway')
    meta = read(tmp_path / 'run' / 'iter_10.pth')['meta']
    assert meta['run']['resumed_with_differences'] == [
        dict(setting='seed', then=0, now=3, epoch=1, iter=9)
    ]
    assert meta['seed'] == 3
    done = tool('tools/train.py', path, '--resume-anyway', check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith('--resume-anyway: ')


class Interrupted(Exception):
    pass


class Validations(Hook):
    """Keeps the score of each; ends a run in one of them, as a kill would."""

    def __init__(self, end_at=None):
        self.end_at, self.kept = end_at, {}

    def before_val_epoch(self, runner):
        if runner.iter == self.end_at:
            raise Interrupted

    def after_val_epoch(self, runner, metrics=None):
        self.kept[runner.iter] = metrics['depth/RMSE']


def validated(work_dir, by_epoch):
    """A run of 15 steps with a schedule that goes by a score."""
    cfg = config(work_dir)
    cfg.val_dataloader = copy.deepcopy(cfg.test_dataloader)
    cfg.val_dataloader.dataset.update(num_scenes=2, split='val')
    cfg.val_evaluator, cfg.val_cfg = cfg.test_evaluator, dict()
    cfg.train_cfg.update(max_epochs=3, val_interval=1)
    # No score is so much better: each validation halves the rate.
    plateau = dict(monitor='depth/RMSE', patience=0, factor=0.5)
    plateau.update(threshold=9e9, threshold_rule='abs')
    cfg.param_scheduler = [dict(type='ReduceOnPlateauLR', **plateau)]
    if not by_epoch:
        cfg.train_cfg = dict(
            type='IterBasedTrainLoop', max_iters=15, val_interval=5
        )
        cfg.train_dataloader.sampler.type = 'SeededInfiniteSampler'
        cfg.param_scheduler = None  # There are none for such runs.
    cfg.default_hooks.checkpoint.update(
        by_epoch=by_epoch,
        interval=1 if by_epoch else 5,
        save_best='depth/RMSE',
    )
    return cfg


@pytest.mark.parametrize('by_epoch', [True, False])
def test_a_validation_that_was_not_done(tmp_path, by_epoch):
    """Is done before the next step, in the midst of a run and at its end."""
    name = 'epoch_{}.pth' if by_epoch else 'iter_{}.pth'
    second, third = (name.format(i if by_epoch else 5 * i) for i in (2, 3))
    straight, killed = tmp_path / 'straight', tmp_path / 'killed'
    expected, found = Validations(), []
    steps = train(validated(straight, by_epoch), hooks=[expected])
    cfg = validated(killed, by_epoch)
    for load_from, end_at in (
        (None, 10), (killed / second, 15), (killed / third, None),
    ):  # fmt: skip
        found.append(Validations(end_at))
        if end_at is None:
            assert train(cfg, load_from, hooks=found[-1:]) == []
            continue
        with pytest.raises(Interrupted):
            train(cfg, load_from, hooks=found[-1:])
    assert sorted(expected.kept) == [5, 10, 15] and len(steps) == 15
    assert [list(part.kept) for part in found] == [[5], [10], [15]]
    for part in found:
        assert part.kept.items() <= expected.kept.items()
    for key in ('state_dict', 'optimizer', 'param_schedulers'):
        ends = [read(f / third).get(key) for f in (straight, killed)]
        same(*ends, key)
        assert ends[0] or not by_epoch
    best = [{p.name for p in f.glob('best*')} for f in (straight, killed)]
    assert best[0] == best[1] and len(best[0]) == 1


def test_a_validation_that_was_done(tmp_path):
    """Is not done again: the best checkpoint was chosen by it already."""
    cfg = validated(tmp_path, True)
    cfg.default_hooks.checkpoint.save_best = 'semseg/mIoU'
    train(cfg)
    best = read(next(tmp_path.glob('best*')))['meta']['epoch']
    kept = Validations()
    train(cfg, tmp_path / f'epoch_{best}.pth', hooks=[kept])
    assert list(kept.kept) == [5 * i for i in range(best + 1, 4)]
