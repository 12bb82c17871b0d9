"""The learning rate follows the length of the run, fresh and resumed."""

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmprotomtl.engine import load_config
from mmprotomtl.engine.run_length import ONLY_AT_THE_END
from mmprotomtl.testing import PLAIN, tiny_cfg, tiny_run
from tests.conftest import ROOT

DEMO = (
    ROOT / 'configs/baselines/mtl_r18_1xb8-demo_synthetic-96x128-onelabel.py'
)
TASKS = dict(semseg=dict(num_classes=7), depth=dict())
POLY = dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, by_epoch=False)
LR = 1e-3
#: Of an epoch.
STEPS = 2


class Rates(Hook):
    """Keeps the learning rate of each step."""

    def __init__(self):
        self.kept = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.kept.append(runner.optim_wrapper.get_lr()['lr'][0])


def config(work_dir, scheduler, **train_cfg):
    """A run of two epochs, or what is said, of two iterations each."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run(TASKS))
    cfg.model = tiny_cfg(TASKS, **PLAIN)
    cfg.train_dataloader.dataset.num_scenes = 2 * STEPS
    cfg.train_dataloader.dataset.pop('partial_labels')
    cfg.train_dataloader.update(
        num_workers=0, persistent_workers=False, batch_size=2
    )
    cfg.train_cfg = train_cfg or dict(by_epoch=True, max_epochs=2)
    cfg.param_scheduler = [dict(item) for item in scheduler]
    cfg.work_dir = str(work_dir)
    return cfg


def rates(cfg, options=None, **settings):
    """Train; returns the learning rates."""
    cfg = load_config(cfg, options)
    cfg.update(settings)
    cfg.experiment_name = f'{cfg.work_dir}-{id(cfg)}'
    runner = Runner.from_cfg(cfg)
    hook = Rates()
    runner.register_hook(hook)
    runner.train()
    return hook.kept


def poly(steps, lr=LR):
    """The rates of all steps, by the formula: lr (1 - t / (T - 1)) ^ 0.9."""
    return [lr * (1 - t / (steps - 1)) ** 0.9 for t in range(steps)]


def near(expected):
    return pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    # mmengine formats the config several times, which takes most of the time.
    monkeypatch.setattr(
        'yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)
    )


#: As configs were written before, and as they are.
SCHEDULES = dict(
    copied=dict(POLY, end=2, by_epoch=True, convert_to_iter_based=True),
    today=POLY,
)


@pytest.mark.parametrize('name', SCHEDULES)
def test_a_longer_run(tmp_path, name):
    cfg = config(tmp_path, [SCHEDULES[name]])
    assert rates(cfg) == near(poly(4))
    options = {'train_cfg.max_epochs': 4}
    cfg.work_dir = str(tmp_path / 'fresh')
    assert rates(cfg, options) == near(poly(8))
    # Goes on where the new schedule is after as many steps.
    cfg.work_dir = str(tmp_path / 'resumed')
    last = str(tmp_path / 'epoch_2.pth')
    resumed = rates(cfg, options, resume=True, load_from=last)
    assert resumed == near(poly(8)[4:])
    assert resumed[0] > 0.4 * LR


def test_a_longer_run_by_iterations(tmp_path):
    cfg = config(
        tmp_path, [dict(POLY, end=3)],
        by_epoch=False, max_iters=3, val_interval=3,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r'checkpoint.by_epoch=False and .*'):
        rates(cfg)
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=3)
    assert rates(cfg) == near(poly(3))
    options = {'train_cfg.max_iters': 7}
    loaded = load_config(cfg, options)
    assert loaded.log_processor.by_epoch is False
    assert loaded.default_hooks.logger.log_metric_by_epoch is False
    assert loaded.train_cfg.val_interval == ONLY_AT_THE_END
    last = str(tmp_path / 'iter_3.pth')
    cfg.work_dir = str(tmp_path / 'resumed')
    assert rates(cfg, options, resume=True, load_from=last) == near(
        poly(7)[3:]
    )
    # An inherited schedule that counts epochs.
    cfg.param_scheduler[0].update(by_epoch=True, end=3)
    with pytest.raises(ValueError, match=r'param_scheduler.0: PolyLR counts'):
        rates(cfg)


def test_another_learning_rate_acts_on_a_resumed_run(tmp_path):
    cfg = config(tmp_path, [POLY])
    assert rates(cfg) == near(poly(4))
    options = {'optim_wrapper.optimizer.lr': 3 * LR}
    first = str(tmp_path / 'epoch_1.pth')
    cfg.work_dir = str(tmp_path / 'resumed')
    resumed = rates(cfg, options, resume=True, load_from=first)
    assert resumed == near(poly(4, 3 * LR)[2:])


def test_another_power_acts_on_a_resumed_run(tmp_path):
    """A smaller one, and a larger one."""
    cfg = config(tmp_path, [POLY])
    rates(cfg)
    first = str(tmp_path / 'epoch_1.pth')
    for power in (0.5, 2):
        cfg.param_scheduler[0].power = power
        cfg.work_dir = str(tmp_path / f'{power}')
        resumed = rates(cfg, resume=True, load_from=first)
        assert resumed == near([LR * (1 - t / 3) ** power for t in (2, 3)])


def test_warmup_and_steps_go_on(tmp_path):
    """Several schedules in a chain, one by epochs: as in a whole new run."""
    chain = [
        dict(type='LinearLR', start_factor=0.25, begin=0, end=3,
             by_epoch=False),
        dict(type='CosineAnnealingLR', begin=3, by_epoch=False, eta_min=1e-5),
        dict(type='MultiStepLR', milestones=[1, 2], by_epoch=True),
    ]  # fmt: skip
    cfg = config(tmp_path, chain)
    rates(cfg)
    options = {'train_cfg.max_epochs': 4}
    cfg.work_dir = str(tmp_path / 'fresh')
    fresh = rates(cfg, options)
    cfg.work_dir = str(tmp_path / 'resumed')
    last = str(tmp_path / 'epoch_2.pth')
    assert rates(cfg, options, resume=True, load_from=last) == fresh[4:]


def test_what_no_run_can_go_on_from_is_refused(tmp_path):
    cfg = config(tmp_path, [POLY])
    cfg.default_hooks.checkpoint.save_optimizer = False
    rates(cfg)
    last = str(tmp_path / 'epoch_2.pth')
    options = {'train_cfg.max_epochs': 4}
    with pytest.raises(ValueError, match=r'epoch_2.pth: it has no state of o'):
        rates(cfg, options, resume=True, load_from=last)
    cfg.default_hooks.checkpoint.save_optimizer = True
    rates(cfg)
    options['train_dataloader.batch_size'] = 4
    with pytest.raises(ValueError, match=r'iterations_per_epoch \| 2 +\| 1'):
        rates(cfg, options, resume=True, load_from=last)
    # What a checkpoint without a record of its run comes to.
    cfg.default_hooks.same_run = None
    with pytest.raises(ValueError, match=r'4 iterations were 2 epochs of .*1'):
        rates(cfg, options, resume=True, load_from=last)
    options['train_dataloader.batch_size'] = 1
    with pytest.raises(ValueError, match=r'4 iterations were 2 epochs of .*4'):
        rates(cfg, options, resume=True, load_from=last)


@pytest.mark.parametrize(
    ('settings', 'problem'),
    [
        (dict(end=3), 'param_scheduler.0: PolyLR ends after 3 iterations '
         'with lr 0, the run has 4 iterations'),
        (dict(end=5), 'PolyLR ends after 5 iterations, the run has 4 iterati'),
        (dict(begin=4, end=9), 'PolyLR begins after 4 iterations, the run ha'),
        (dict(end=1, by_epoch=True, convert_to_iter_based=True),
         'PolyLR ends after 2 iterations with lr 0, the run has 4'),
        (dict(type='CosineAnnealingLR', power=None, T_max=9),
         'CosineAnnealingLR ends after 9 iterations, the run has 4'),
        (dict(type='LinearLR', power=None, eta_min=None, start_factor=1,
              end_factor=0, end=2), 'LinearLR ends after 2 iterations with l'),
    ],
)  # fmt: skip
def test_a_schedule_of_another_length_is_refused(tmp_path, settings, problem):
    given = {k: v for k, v in {**POLY, **settings}.items() if v is not None}
    cfg = config(tmp_path, [given])
    with pytest.raises(ValueError, match=problem):
        rates(cfg)
    if settings == dict(end=3):
        cfg.default_hooks.schedule.allow_other_length = True
        assert rates(cfg) == near([*poly(3), 0])


def test_a_schedule_that_ends_on_a_value_or_hands_on(tmp_path):
    for chain in (
        [dict(POLY, end=3, eta_min=1e-5)],
        [dict(POLY, end=2), dict(POLY, begin=2)],
    ):
        rates(config(tmp_path, chain))


def test_the_length_is_said_once():
    """Both names act alike, and nothing else has to be set."""
    one = load_config(DEMO, {'max_epochs': 4})
    other = load_config(DEMO, {'train_cfg.max_epochs': 4})
    assert one.to_dict() == other.to_dict()
    assert one.train_cfg.max_epochs == 4
    assert [dict(item) for item in one.param_scheduler] == [POLY]
    assert one.train_cfg.val_interval > 4
    both = {'max_epochs': 4, 'train_cfg.max_epochs': 5}
    with pytest.raises(ValueError, match=r'max_epochs=4 and train_cfg.max_e'):
        load_config(DEMO, both)
    assert (
        load_config(DEMO, {**both, 'max_epochs': 5}).train_cfg.max_epochs == 5
    )


def test_copies_in_configs_of_earlier_versions():
    cfg = Config(
        dict(
            train_cfg=dict(by_epoch=True, max_epochs=8, val_interval=8),
            param_scheduler=[
                dict(type='LinearLR', end=2),
                dict(type='CosineAnnealingLR', begin=2, end=8, T_max=6),
                dict(type='OneCycleLR', total_steps=8),
                dict(type='CosineAnnealingLR', end=8, T_max=3),
            ],
        )
    )
    loaded = load_config(cfg, {'train_cfg.max_epochs': 20})
    assert loaded.param_scheduler == [
        dict(type='LinearLR', end=2),
        dict(type='CosineAnnealingLR', begin=2),
        dict(type='OneCycleLR'),
        dict(type='CosineAnnealingLR', T_max=3),
    ]
    assert loaded.train_cfg.val_interval >= 20
    # What is set wins; after each epoch stays after each epoch.
    options = {
        'train_cfg.max_epochs': 20, 'train_cfg.val_interval': 8,
        'param_scheduler.1.end': 8,
    }  # fmt: skip
    loaded = load_config(cfg, options)
    assert loaded.train_cfg.val_interval == 8
    assert loaded.param_scheduler[1].end == 8
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    loaded = load_config(cfg, {'train_cfg.max_epochs': 20})
    assert loaded.train_cfg.val_interval == 1
