"""What metrics.json says, and delta_m against such files."""

import io
import json
import logging
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmprotomtl.datasets import SyntheticScenesDataset
from mmprotomtl.testing import PLAIN, TASKS, tiny_cfg

KEPT = {name: TASKS[name] for name in ('semseg', 'depth')}


@pytest.fixture(scope='module')
def runner(tiny_config, tmp_path_factory):
    place = tmp_path_factory.mktemp('runs')

    def build(name, **options):
        cfg = Config.fromfile(tiny_config)
        cfg.work_dir = str(place / name)
        cfg.model = tiny_cfg(KEPT, **PLAIN)
        for loader in (cfg.train_dataloader, cfg.test_dataloader):
            loader.dataset.tasks = KEPT
            loader.num_workers = 0
            loader.persistent_workers = False
        cfg.train_dataloader.dataset.num_scenes = 8
        cfg.train_cfg.max_epochs = 1
        cfg.merge_from_dict(options)
        return Runner.from_cfg(cfg)

    return build


def score(run):
    metrics = run.test()
    report = json.loads(Path(run.work_dir, 'metrics.json').read_text())
    assert report['metrics'].keys() == metrics.keys()
    return report


@pytest.fixture(scope='module')
def checkpoint(runner):
    run = runner('train')
    run.train()
    return f'{run.work_dir}/epoch_1.pth'


@pytest.fixture(scope='module')
def first(runner, checkpoint):
    return score(runner('first', load_from=checkpoint))


def test_a_choice_on_test_data_has_to_be_asked_for(runner):
    def run(name, **options):
        cfg = runner(name).cfg
        cfg.val_dataloader = cfg.test_dataloader
        cfg.val_evaluator, cfg.val_cfg = cfg.test_evaluator, dict()
        cfg.default_hooks.checkpoint.save_best = 'semseg/mIoU'
        cfg.merge_from_dict(options)
        return Runner.from_cfg(cfg)

    split = 'val_dataloader.dataset.split'
    with pytest.raises(ValueError, match="split='test' is an official test"):
        run('refused').train()
    for name, on, options in (
        ('test', 'test', {'default_hooks.selection.allow_test_selection': 1}),
        (
            'holdout',
            'val',
            {
                split: 'train',
                'val_dataloader.dataset.holdout': dict(part='val'),
                'val_dataloader.dataset.partial_labels': 'full',
            },
        ),
    ):
        train = run(name, **options)
        train.logger.addHandler(logging.StreamHandler(log := io.StringIO()))
        train.train()
        assert ('selected_on: test' in log.getvalue()) == (on == 'test')
        # One image is held out: one of its two labels is hidden.
        hidden = 'chooses by 1 labels that the label mask hides'
        assert (hidden in log.getvalue()) == (name == 'holdout')
        (best,) = Path(train.work_dir).glob('best_*.pth')
        report = score(runner(f'{name} tested', load_from=str(best)))
        assert report['selected_on'] == on
        assert report['selection']['checkpoint'] == 'best'
        assert report['selection']['metric'] == 'semseg/mIoU'
        number = 1 if name == 'holdout' else None
        assert report['selection'].get('hidden_labels') == number
    last = score(runner('last', load_from=f'{train.work_dir}/epoch_1.pth'))
    assert last['selection'] == dict(checkpoint='last')


def test_delta_m(runner, checkpoint, first, tmp_path):
    assert 'delta_m' not in first['metrics']
    assert first['protocol'] == 'default'
    assert first['inference']['mode'] == 'whole'
    assert first['tasks']['depth'] == dict(metric='RMSE', higher=False)
    assert first['scoring']['depth'] == dict(
        measures=[dict(type='RegressionError')], image_list=None
    )
    ids = '\n'.join(sorted(str(i) for i in range(6)))
    assert first['test_data']['ids'] == sha256(ids.encode()).hexdigest()
    semseg, depth = tmp_path / 'semseg.json', tmp_path / 'depth.json'
    scores = first['metrics']
    better = {'semseg/mIoU': scores['semseg/mIoU'] / 1.25}
    semseg.write_text(json.dumps({**first, 'metrics': better}))
    worse = {'depth/RMSE': scores['depth/RMSE'] / 2}
    depth.write_text(json.dumps({**first, 'metrics': worse}))

    def against(*files, **options):
        files = [str(file) for file in files]
        options['test_evaluator.reference'] = files
        return score(runner('second', load_from=checkpoint, **options))

    report = against(semseg, depth)
    assert report['reference'] == [str(semseg), str(depth)]
    # A quarter more of what should be high, twice what should be low.
    assert report['metrics']['delta_m'] == pytest.approx((25 - 100) / 2)
    with pytest.raises(ValueError, match='0 of .* have a value of depth/RMSE'):
        against(semseg)
    with pytest.raises(ValueError, match=r'its test_data\.images is 6.* is 4'):
        against(semseg, depth, **{'test_dataloader.dataset.num_scenes': 4})
    for key, value, told in (
        ('seed', 7, 'its seed is 7, that of this run is 0'),
        (
            'test_data',
            dict(first['test_data'], ids='f00'),
            r"its test_data\.ids is 'f00', that",
        ),
        (
            'scoring',
            dict(depth=dict(measures=[], image_list=None)),
            r"its scoring\.depth is {'measures': \[\], ",
        ),
        (
            'label_mask',
            dict(first['label_mask'], sha256='f00'),
            r"its label_mask\.sha256 is 'f00', that",
        ),
    ):
        depth.write_text(json.dumps({**first, key: value, 'metrics': worse}))
        with pytest.raises(ValueError, match=f'depth.json is no .*{told}'):
            against(semseg, depth)
    depth.write_text('{')
    with pytest.raises(ValueError, match='depth.json: not JSON'):
        against(semseg, depth)


def test_a_reference_of_other_data_stops_a_training(runner, first, tmp_path):
    reference = tmp_path / 'reference.json'
    reference.write_text(json.dumps(first))
    cfg = runner('trained').cfg
    cfg.val_dataloader = dict(cfg.test_dataloader)
    cfg.val_dataloader.dataset = dict(cfg.test_dataloader.dataset, split='val')
    cfg.val_evaluator = dict(type='MultiTaskMetric', reference=str(reference))
    cfg.val_cfg = dict()
    told = r"its test_data\.split is 'test', that of this run is 'val'"
    with pytest.raises(ValueError, match=told):
        Runner.from_cfg(cfg).train()


def test_the_command_line(runner, checkpoint, tool, tmp_path):
    """Views and a reference, as a user asks for them."""
    config = tmp_path / 'c.py'
    runner('config').cfg.dump(config)
    first, second = tmp_path / 'first', tmp_path / 'second'
    ids = tmp_path / 'ids.txt'
    ids.write_text('1\n4\n')
    listed = f'test_evaluator.image_lists.depth={ids}'
    tool(
        'tools/test.py', config, checkpoint, '--work-dir', first, '--tta',
        '--out', tmp_path / 'out', '--cfg-options', listed,
    )  # fmt: skip
    report = json.loads((first / 'metrics.json').read_text())
    # Two of the six images are scored, as their saved predictions say.
    data = SyntheticScenesDataset(
        size=(32, 48), num_scenes=6, split='test', tasks=KEPT
    )
    errors = [
        np.abs(
            np.load(tmp_path / f'out/depth/{i}.npy')[0]
            - data.get_data_info(i)['labels']['depth'].load()
        )
        for i in (1, 4)
    ]
    assert report['metrics']['depth/absErr'] == pytest.approx(
        np.mean(errors), rel=1e-4
    )
    hashed = sha256(b'1\n4').hexdigest()
    assert report['scoring']['depth']['image_list'] == hashed
    assert report['scoring']['semseg']['image_list'] is None
    assert report['inference']['tta']['flip'] is True
    assert len(report['inference']['tta']['scales']) == 6
    reference = first / 'metrics.json'
    tool(
        'tools/test.py', config, checkpoint, '--work-dir', second, '--tta',
        '--cfg-options', f'test_evaluator.reference={reference}',
        'model.test_cfg.mode=whole', listed,
    )  # fmt: skip
    report = json.loads((second / 'metrics.json').read_text())
    assert report['metrics']['delta_m'] == 0
    assert report['reference'] == [str(reference)]


@pytest.mark.parametrize('wrapper', ['none', 'ConcatDataset'])
def test_the_labels_are_those_that_were_used(runner, wrapper):
    """Log, checkpoint and metrics.json: of 8 images, 3 are trained on."""
    name = f'labels of {wrapper}'
    cfg = runner(name).cfg
    own = cfg.train_dataloader.dataset
    own.partial_labels = dict(protocol='random-label', seed=3)
    own.pipeline = [step for step in own.pipeline if 'Random' not in step.type]
    mask = SyntheticScenesDataset(
        num_scenes=8, tasks=KEPT, partial_labels=own.partial_labels
    ).label_mask
    rows = {sample: mask.labelled[sample] for sample in '012'}
    loader = cfg.train_dataloader
    loader.batch_size, loader.num_batch_per_epoch = 1, 3
    if wrapper != 'none':
        loader.dataset = dict(type=wrapper, datasets=[own, dict(own)])
        rows = {f'0-{sample}': row for sample, row in rows.items()}
    train = Runner.from_cfg(cfg)
    train.logger.addHandler(logging.StreamHandler(log := io.StringIO()))
    train.train()
    text = json.dumps(
        {sample: sorted(row) for sample, row in rows.items()},
        separators=(',', ':'),
    )
    labels = {
        task: sum(task in row for row in rows.values())
        for task in ('depth', 'semseg')
    }
    expected = dict(
        images=3, labels=labels, sha256=sha256(text.encode()).hexdigest()
    )
    said = ', '.join(f'{task} {number}' for task, number in labels.items())
    assert (
        f'labels used in training: 3 images ({said}), sha256 '
        f'{expected["sha256"]}\n'
    ) in log.getvalue()
    load_from = f'{train.work_dir}/epoch_1.pth'
    report = score(runner(f'{name} tested', load_from=load_from))
    assert report['labels_used'] == expected
    found = report['label_mask']
    hashes = [part['sha256'] for part in found.get('parts', [found])]
    assert hashes == [mask.sha256] * (1 if wrapper == 'none' else 2)
