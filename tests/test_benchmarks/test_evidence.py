"""The driver of benchmarks: runs of a plan that stop and go on."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from mmengine.config import Config

from mmprotomtl.testing import PLAIN, tiny_run
from tests.conftest import ROOT

DRIVER = ROOT / 'benchmarks/evidence.py'
TASKS = dict(semseg=dict(num_classes=7), depth=dict())
PLAN = """
data_root = {root!r}
shape = (32, 48)
arms = dict(
    method=dict(config={method!r}),
    wide=dict(
        config={plain!r},
        like=dict(arm='method', count='parameters',
                  setting='model.neck.channels'),
    ),
    wrong=dict(config={plain!r}, options={{'load_from': 'nothing.pth'}}),
)
labels = dict(
    one={{}},
    full={{'train_dataloader.dataset.partial_labels': 'full'}},
)
parts = dict(test=None, carved=dict(fraction=.25, every=1))
runs = {runs!r}
shared = {shared!r}
tables = [dict(labels=['one'], part='test', against=['wide'])]
"""


@pytest.fixture(scope='module')
def configs(tmp_path_factory):
    """Config files of the method and of the baseline, on scenes."""
    folder = tmp_path_factory.mktemp('configs')
    found = {}
    for name, parts in (('method', {}), ('plain', PLAIN)):
        cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
        cfg.merge_from_dict(tiny_run(TASKS))
        cfg.model = {**cfg.model.to_dict(), **parts}
        cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
        cfg.train_cfg.max_epochs = 2
        found[name] = str(folder / f'{name}.py')
        cfg.dump(found[name])
    return found


@pytest.fixture
def plan(tmp_path, configs):
    """Writes a plan; returns its file."""

    def write(*runs, **shared):
        file = tmp_path / 'plan.py'
        file.write_text(
            PLAN.format(
                root=str(tmp_path), runs=list(runs), shared=shared, **configs
            )
        )
        return file

    return write


@pytest.fixture
def command(tmp_path):
    """The command line of the driver, in folders of its own."""

    def line(file, *options):
        return [
            str(DRIVER), str(file), '--work-dir', str(tmp_path / 'work'),
            '--results', str(tmp_path / 'results'), *options,
        ]  # fmt: skip

    return line


def results(tmp_path):
    return {
        file.stem: json.loads(file.read_text())
        for file in (tmp_path / 'results/plan').glob('*.json')
    }


def modules():
    """The two modules of the driver, which are scripts."""
    sys.path.insert(0, str(ROOT / 'benchmarks'))
    try:
        return [*map(importlib.import_module, ('evidence_plan', 'evidence'))]
    finally:
        sys.path.pop(0)


def test_runs_failures_keys_and_tables(tool, plan, command, tmp_path):
    """One plan, given again and again."""
    runs = [
        ('wrong', 'one', 'test', 0),
        ('method', 'one', 'test', 0),
        ('wide', 'one', 'carved', 1),
    ]
    done = tool(*command(plan(*runs), '--jobs', '2'), check=False)
    # The failure is told, with the end of its log, and stops nothing.
    assert done.returncode == 1
    assert '1 runs failed' in done.stdout
    assert 'wrong_one_test_seed0' in done.stdout.split('1 runs failed')[1]
    found = results(tmp_path)
    assert set(found) == {'method_one_test_seed0', 'wide_one_carved_seed1'}
    report = found['method_one_test_seed0']
    assert report['seed'] == report['run']['seed'] == 0
    assert report['test_data']['split'] == 'test'
    assert report['label_mask']['protocol'] == 'one-label'
    assert report['run']['seconds']['train'] > 0
    assert report['run']['curve'] == []
    # The widened baseline has as many parameters as the method.
    wide = found['wide_one_carved_seed1']
    ratio = wide['run']['parameters'] / report['run']['parameters']
    assert ratio == pytest.approx(1, abs=0.02)
    assert 'model.neck.channels' in wide['run']['options']
    # A part of the training images, by its visible labels.
    tested = wide['test_data']
    assert (tested['split'], tested['images']) == ('train', 6)
    assert tested['holdout'] == dict(fraction=0.25, seed=1, part='val')
    assert wide['labels_used']['images'] == 18
    settings = wide['run']['settings']
    assert sum(settings['test_data']['labels']['labels'].values()) == 6
    curve = wide['run']['curve']
    assert [entry['step'] for entry in curve] == [1, 2]
    last = curve[-1]['scores']['depth/RMSE']
    assert last == pytest.approx(wide['metrics']['depth/RMSE'], abs=1e-3)
    # No folder of this machine is in it.
    assert str(tmp_path) not in json.dumps(wide)

    # Nothing is made again; the failed one is tried again.
    assert states(plan(*runs), tmp_path) == [False, True, True]
    # A changed arm makes its result count no more; logging does not matter.
    changed = {'default_hooks.logger.interval': 7}
    assert states(plan(*runs, **changed), tmp_path) == [False, True, True]
    changed = {'optim_wrapper.optimizer.lr': 1e-4}
    assert states(plan(*runs, **changed), tmp_path) == [False] * 3
    driver, (_, run, _) = opened(plan(*runs, **changed), tmp_path)
    key = 'optim_wrapper.optimizer.lr: 0.001 then, 0.0001 now'
    assert driver.why_again(run) == f' again, because of {key}'
    done = tool(*command(plan(*runs), '--table'))
    assert '| method | one-label |' in done.stdout


def opened(file, tmp_path):
    """The driver of a plan, and its runs."""
    plans, evidence = modules()
    plan = plans.Plan(file, None, tmp_path / 'work')
    return (
        evidence.Driver(plan, tmp_path / 'work', tmp_path / 'results'),
        [*plan.runs()],
    )


def states(file, tmp_path):
    """Whether the runs of a plan have a result."""
    driver, runs = opened(file, tmp_path)
    return [driver.result(run) is not None for run in runs]


def test_a_stopped_run_goes_on(plan, command, tmp_path):
    file = plan(('method', 'one', 'test', 0), **{'train_cfg.max_epochs': 12})
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT))
    line = [sys.executable, *command(file, '--jobs', '1')]
    driver = subprocess.Popen(
        line, env=env, cwd=ROOT, text=True, stdout=subprocess.PIPE
    )
    work = tmp_path / 'work/plan'
    deadline = time.time() + 300
    while not [*work.glob('*/epoch_2.pth')] and time.time() < deadline:
        time.sleep(0.05)
    driver.send_signal(signal.SIGTERM)
    out, _ = driver.communicate(timeout=60)
    assert driver.returncode
    assert 'FAILED' not in out
    assert not results(tmp_path)
    (home,) = work.glob('method*')
    before = sorted(p.name for p in home.glob('*.pth'))
    assert before
    assert 'epoch_12.pth' not in before
    subprocess.run(line, env=env, cwd=ROOT, check=True)
    assert 'resumed epoch' in (home / 'train.log').read_text()
    report = results(tmp_path)['method_one_test_seed0']
    assert (report['epoch'], report['selection']['checkpoint']) == (12, 'last')


@pytest.mark.parametrize(
    ('wanted', 'expected'), [(100, 10), (101, 10), (119, 11), (10**6, 1000)]
)
def test_the_matching_width(wanted, expected):
    assert modules()[0].matched(lambda n: n * n, wanted, 'x') == expected


def test_a_width_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r'arms\.x: with 1 there are 100'):
        modules()[0].matched(lambda n: 100 * n, 140, 'arms.x')


def test_the_plans_of_the_repository(monkeypatch):
    """Every arm is built, and the widened ones match."""
    plans, _ = modules()
    # The data need not be there.
    monkeypatch.setattr(plans, '_data', lambda dataset, root: dataset)
    files = (ROOT / 'benchmarks/plans').glob('*.py')
    # Others hold arms that several plans have.
    files = [f for f in files if '\nruns = ' in f.read_text()]
    assert files
    for file in files:
        plan = plans.Plan(file, None, 'work')
        runs = [*plan.runs()]
        assert len({run.key for run in runs}) == len(runs)
        assert len({run.name for run in runs}) == len(runs)
        for arm, said in plan.said['arms'].items():
            size = plan.size(arm)
            like = said.get('like')
            if like:
                wanted = plan.size(like['arm'])[like['count']]
                assert size[like['count']] == pytest.approx(wanted, rel=0.02)
