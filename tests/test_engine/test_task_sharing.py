"""``tasks`` of a config are said once and act everywhere."""

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmprotomtl.engine import load_config
from mmprotomtl.registry import DATASETS, MODELS
from mmprotomtl.tasks import build_tasks
from mmprotomtl.testing import PLAIN, TASKS, tiny_cfg, tiny_run
from tests.conftest import ROOT

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
BASE = ROOT / 'configs/baselines'
NYUV2 = BASE / 'mtl_r18_1xb8-20e_nyuv2-96x128-onelabel.py'
PASCAL = BASE / 'mtl_r18_1xb4-200e_pascal-512x512-onelabel.py'
CITYSCAPES = BASE / 'mtl_r18_1xb8-200e_cityscapes-128x256-onelabel.py'


@pytest.fixture
def cfg(tmp_path):
    """A run on scenes that says its tasks once, as files do."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run())
    cfg.model = tiny_cfg(**PLAIN)
    cfg.work_dir = cfg.experiment_name = str(tmp_path)
    del cfg.model['tasks']
    for loader in ('train_dataloader', 'test_dataloader'):
        del cfg[loader].dataset['tasks']
        cfg[loader].update(num_workers=0, persistent_workers=False)
    return cfg


def copies(cfg):
    """Place -> the tasks that are handed over to it."""
    found = {'model': cfg.model.tasks}
    for loader in LOADERS:
        if cfg.get(loader):
            found[loader] = cfg[loader].dataset.tasks
    return found


# ----- settings act everywhere


@pytest.mark.parametrize(
    ('file', 'key', 'value'),
    [
        (NYUV2, 'normals.metric', 'within_11.25'),
        (NYUV2, 'depth.loss_weight', 0.6),
        (PASCAL, 'edge.num_thresholds', 5),
        (PASCAL, 'sal.loss_weight', 7.0),
    ],
)
@pytest.mark.parametrize('way', ['command line', 'file'])
def test_a_setting_acts_everywhere(file, key, value, way, tmp_path):
    name, setting = key.split('.')
    if way == 'file':
        mine = tmp_path / 'mine.py'
        mine.write_text(
            f'_base_ = {str(file)!r}\n'
            f'tasks = dict({name}=dict({setting}={value!r}))\n'
        )
        cfg = load_config(mine)
    else:
        cfg = load_config(file, {f'tasks.{key}': value})
    before = copies(load_config(file))
    assert len(before) == 4
    for place, tasks in copies(cfg).items():
        assert tasks[name][setting] == value, place
        assert before[place][name].get(setting) != value, place
        # Nothing else has changed.
        tasks = {n: dict(args) for n, args in tasks.items()}
        tasks[name].pop(setting)
        rest = {n: dict(args) for n, args in before[place].items()}
        rest[name].pop(setting, None)
        assert tasks == rest


def test_what_is_scored_follows(cfg):
    """The metric that stands for normals, and the thresholds of edges."""
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = None
    options = {
        'tasks.normals.metric': 'within_11.25',
        'tasks.edge.num_thresholds': 5,
    }
    runner = Runner.from_cfg(load_config(cfg, options))
    runner.test()
    (metric,) = runner.test_evaluator.metrics
    for tasks in (
        runner.model.tasks,
        metric.tasks,
        runner.test_loop.dataloader.dataset.tasks,
    ):
        tasks = (
            build_tasks(tasks) if isinstance(tasks['edge'], dict) else tasks
        )
        assert tasks['normals'].standing_metric == 'within_11.25'
        assert tasks['edge'].num_thresholds == 5
    edges = metric.scoring()['edge']['measures']
    assert [m['num_thresholds'] for m in edges if 'num_thresholds' in m] == [5]


@pytest.mark.parametrize('file', [NYUV2, PASCAL])
def test_weights_are_the_run_s(file):
    """``normals={}`` is 10 in model and data, not 10 and 1."""
    for tasks in copies(load_config(file, {'tasks.normals': {}})).values():
        assert build_tasks(tasks)['normals'].loss_weight == {
            NYUV2: 1.0, PASCAL: 10.0,
        }[file]  # fmt: skip


def test_facts_of_the_files_reach_the_model():
    """``depth={}`` on Cityscapes is disparity everywhere."""
    cfg = Config.fromfile(CITYSCAPES)
    cfg.tasks = dict(semseg={}, depth={})
    cfg = load_config(cfg)
    units = {build_tasks(t)['depth'].unit for t in copies(cfg).values()}
    assert units == {'disparity'}
    assert MODELS.build(cfg.model).tasks['semseg'].num_classes == 7
    known = {'train_dataloader.dataset.num_classes': 19}
    for loader in LOADERS[1:]:
        known[f'{loader}.dataset.num_classes'] = 19
    with pytest.raises(ValueError, match=r'tasks\.semseg\.num_classes'):
        load_config(CITYSCAPES, dict([*known.items()][:1]))
    cfg = load_config(Config.fromfile(CITYSCAPES), known)
    assert cfg.model.tasks.semseg.num_classes == 19


# ----- what is refused


@pytest.mark.parametrize(
    ('options', 'problem'),
    [
        ({'tasks.semseg.num_classes': 9}, r'tasks\.semseg\.num_classes'),
        ({'tasks.depth.unit': 'disparity'}, r'tasks\.depth\.unit'),
        ({'tasks.depth.wieght': 2}, r'tasks\.depth.*wieght'),
        ({'tasks.sal': {}}, r'tasks\.sal: .*NYUv2Dataset.* has no labels'),
        ({'tasks.depth.metric': 'mIoU'}, r"metric='mIoU'"),
        ({'only_task': 'sal'}, r"only_task='sal'"),
        ({'tasks': 3}, 'tasks=3'),
        (
            {'model.tasks.normals.metric': 'rmse'},
            r'model\.tasks\.normals\.metric=.rmse., but tasks\.normals\.'
            r'metric is not set: set tasks\.normals\.metric at the top level',
        ),
        (
            {'test_dataloader.dataset.tasks.depth.loss_weight': 2.0},
            r'test_dataloader\.dataset\.tasks\.depth\.loss_weight=2\.0, but '
            r'tasks\.depth\.loss_weight is not set',
        ),
        (
            {'val_evaluator.tasks.flow': {}},
            r"val_evaluator\.tasks names \['flow'\], but tasks names",
        ),
    ],
)
def test_what_contradicts_is_refused(options, problem):
    with pytest.raises(ValueError, match=problem):
        load_config(NYUV2, options)


def test_parts_that_mean_different_things(cfg):
    part = cfg.train_dataloader.dataset
    other = dict(part, type='CityscapesMTDataset', data_root='x')
    for key in ('size', 'num_scenes'):
        other.pop(key)
    cfg.train_dataloader.dataset = dict(
        type='MultiTaskConcatDataset', datasets=[part, other]
    )
    cfg.tasks = dict(depth={})
    with pytest.raises(
        ValueError, match=r'tasks\.depth\.unit is .* in train_dataloader\.'
        r'dataset\.datasets\.0 \(Synthetic.*datasets\.1 \(City.*one network',
    ):  # fmt: skip
        load_config(cfg)


def test_a_copy_in_the_file(cfg):
    """It may say the same; of another one place and key are named."""
    expected = load_config(cfg).to_dict()
    cfg.model.tasks = TASKS
    cfg.test_dataloader.dataset.tasks = dict(TASKS)
    assert load_config(cfg).to_dict() == expected
    cfg.model.tasks = dict(TASKS, depth=dict(loss_weight=3))
    with pytest.raises(
        ValueError, match=r'model\.tasks\.depth\.loss_weight=3, but tasks\.dep'
    ):
        load_config(cfg)
    # One that lacks a task would train or test on fewer.
    cfg.model.tasks = dict(depth={})
    with pytest.raises(ValueError, match=r"model\.tasks names \['depth'\], b"):
        load_config(cfg)


@pytest.mark.parametrize('place', ['model', 'train_dataloader.dataset'])
def test_a_copy_alone_counts(cfg, place):
    """Configs of other tools say the tasks in the model or in the data."""
    some = dict(depth=dict(loss_weight=3), semseg=TASKS['semseg'])
    holder = cfg
    for key in place.split('.'):
        holder = holder[key]
    cfg._cfg_dict.pop('tasks')
    holder.tasks = some
    loaded = load_config(cfg)
    assert {*loaded.tasks} == {'depth', 'semseg'}
    for tasks in copies(loaded).values():
        assert {*tasks} == {'depth', 'semseg'}
        assert tasks.depth.loss_weight == 3
    # Two data sets, of which each says a part: the second adds nothing wrong.
    if place != 'model':
        cfg.test_dataloader.dataset.tasks = dict(sal={})
        with pytest.raises(ValueError, match='names'):
            load_config(cfg)


def test_what_evaluator_and_visualizer_show(cfg):
    """They may name fewer tasks, and get their settings."""
    cfg.test_evaluator.tasks = ['depth', 'edge']
    cfg.visualizer.tasks = dict(edge={})
    loaded = load_config(cfg, {'tasks.edge.num_thresholds': 4})
    assert [*loaded.test_evaluator.tasks] == ['edge', 'depth']
    assert loaded.test_evaluator.tasks.edge.num_thresholds == 4
    assert loaded.visualizer.tasks == dict(edge=loaded.tasks.edge)
    assert len(loaded.model.tasks) == 6


# ----- single tasks


def test_a_run_of_one_task_sees_the_labels_of_the_run_of_all(cfg):
    whole = DATASETS.build(load_config(cfg).train_dataloader.dataset)
    seen = [
        info['sample_id']
        for info in map(whole.get_data_info, range(len(whole)))
        if 'depth' in info['labels']
    ]
    single = load_config(cfg, dict(only_task='depth'))
    data = DATASETS.build(single.train_dataloader.dataset)
    assert [data.get_data_info(i)['sample_id'] for i in range(len(data))] == (
        seen
    )
    assert 0 < len(seen) < 24
    for tasks in copies(single).values():
        assert [*tasks] == ['depth']
    # Tests keep every image.
    assert 'filter_cfg' not in single.test_dataloader.dataset
    assert len(DATASETS.build(single.test_dataloader.dataset)) == 6


@pytest.mark.parametrize('only', [None, 'depth'])
@pytest.mark.parametrize('mask', [dict(protocol='one-label', seed=0), 'ratio'])
def test_a_config_that_a_run_wrote_loads_the_same(cfg, only, mask):
    if mask == 'ratio':
        mask = dict(protocol='ratio', ratio=0.5)
    cfg.train_dataloader.dataset.partial_labels = mask
    cfg.train_dataloader.dataset.filter_cfg = dict(mine=1)
    options = {} if only is None else dict(only_task=only)
    first = load_config(cfg, options)
    assert load_config(first).to_dict() == first.to_dict()
    # From there to another task, or to all.
    other = load_config(first, dict(only_task='edge'))
    assert (
        other.to_dict() == load_config(cfg, dict(only_task='edge')).to_dict()
    )


def test_a_filter_of_the_user_stays(cfg):
    cfg.train_dataloader.dataset.filter_cfg = dict(mine=1)
    single = load_config(cfg, dict(only_task='depth'))
    kept = single.train_dataloader.dataset.filter_cfg
    assert kept == dict(mine=1, drop_unlabelled=True)
    again = load_config(single, dict(only_task='edge'))
    assert again.train_dataloader.dataset.filter_cfg == kept


def test_single_tasks_of_earlier_versions(cfg):
    """Model and all data named the same one task below ``tasks`` of all."""
    cfg.model.tasks = dict(depth={})
    for loader in ('train_dataloader', 'test_dataloader'):
        cfg[loader].dataset.tasks = dict(depth={})
    loaded = load_config(cfg)
    assert [*loaded.tasks] == [*loaded.model.tasks] == ['depth']
    # Data that name others make it a contradiction.
    cfg.test_dataloader.dataset.tasks = dict(depth={}, edge={})
    with pytest.raises(ValueError, match='names'):
        load_config(cfg)


def test_a_part_without_the_task_is_left_out(cfg):
    """Of data sets that are concatenated, a run of one task takes those with
    labels of it.
    """
    part = dict(cfg.train_dataloader.dataset)
    cfg.train_dataloader.dataset = dict(
        type='MultiTaskConcatDataset',
        datasets=[
            dict(part, tasks=dict(semseg=TASKS['semseg'])),
            dict(part, tasks=dict(depth={}), num_scenes=5),
        ],
    )
    cfg.tasks = dict(semseg=TASKS['semseg'], depth={})
    whole = load_config(cfg).train_dataloader.dataset.datasets
    assert [[*p.tasks] for p in whole] == [['semseg'], ['depth']]
    single = load_config(cfg, dict(only_task='depth'))
    (left,) = single.train_dataloader.dataset.datasets
    assert left.num_scenes == 5
    assert [*left.tasks] == ['depth']


# ----- label masks from the command line

LABELS = 'train_dataloader.dataset.partial_labels'


@pytest.mark.parametrize(
    ('earlier', 'options', 'expected'),
    [
        ('one-label', {'': 'full'}, 'full'),
        ('one-label', {'.seed': 3}, dict(protocol='one-label', seed=3)),
        ('x/mask.pth', {'.keep': 1}, dict(mask_file='x/mask.pth', keep=1)),
        (
            dict(mask_file='x.pth'),
            {'.protocol': 'ratio', '.ratio': 0.3},
            dict(protocol='ratio', ratio=0.3),
        ),
        (
            dict(protocol='ratio', ratio=0.3),
            {'.ratio': 0.5},
            dict(protocol='ratio', ratio=0.5),
        ),
        (
            dict(protocol='ratio', ratio=0.3),
            {'': dict(_delete_=True, protocol='one-label')},
            dict(protocol='one-label'),
        ),
        (None, {'.protocol': 'one-label'}, dict(protocol='one-label')),
    ],
)
def test_settings_of_a_label_mask(cfg, earlier, options, expected):
    cfg.train_dataloader.dataset.partial_labels = earlier
    options = {f'{LABELS}{key}': value for key, value in options.items()}
    found = load_config(cfg, options).train_dataloader.dataset.partial_labels
    assert found == expected


def test_masks_of_several_parts(cfg):
    """A name for the first does not end the settings of the second."""
    part = cfg.train_dataloader.dataset
    second = dict(part, partial_labels='one-label')
    cfg.train_dataloader.dataset = dict(
        type='MultiTaskConcatDataset', datasets=[dict(part), second]
    )
    places = [
        f'train_dataloader.dataset.datasets.{number}.partial_labels'
        for number in (0, 1)
    ]
    options = {places[0]: 'full', f'{places[1]}.seed': 8}
    first, second = load_config(cfg, options).train_dataloader.dataset.datasets
    assert first.partial_labels == 'full'
    assert second.partial_labels == dict(protocol='one-label', seed=8)
