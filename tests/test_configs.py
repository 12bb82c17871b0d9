"""Every config is built, and its settings act."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.infer import BaseInferencer

from mmprotomtl.engine import load_config
from mmprotomtl.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS
from mmprotomtl.tasks import build_tasks
from mmprotomtl.utils.config_variables import FROM, RUN_KEYS
from mmprotomtl.utils.old_configs import new_config

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / 'configs').glob('[!_]*/*.py'))
METAFILES = sorted((ROOT / 'configs').glob('*/metafile.yml'))
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
METHOD = ROOT / 'configs/protomtl'
SMALL = METHOD / 'protomtl_r18_1xb8-20e_nyuv2-96x128-onelabel.py'

each_config = pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)


def test_there_is_one_for_each_method_data_set_and_size():
    # One more config: add it here, and see that it is tested below.
    runs = [
        '1xb4-200e_nyudv2-448x576',
        '1xb4-200e_nyuv2-288x384',
        '1xb4-200e_pascal-512x512',
        '1xb4-200e_synthetic-288x384',
        '1xb8-200e_cityscapes-128x256',
        '1xb8-20e_nyuv2-96x128',
        '1xb8-demo_synthetic-96x128',
    ]
    expected = {
        f'{method}_r18_{run}-onelabel.py'
        for method in ('protomtl/protomtl', 'baselines/mtl')
        for run in runs
    } | {
        'protomtl/protomtl_vit-l-fsdp_8xb1-200e_nyuv2-288x384-onelabel.py',
        # Of benchmarks/plans.
        'protomtl/protomtl_lite0_1xb16-60e_nyuv2-96x128-onelabel.py',
        'baselines/mtl_lite0_1xb16-60e_nyuv2-96x128-onelabel.py',
    }
    found = {path.relative_to(ROOT / 'configs').as_posix() for path in CONFIGS}
    assert found == expected


@each_config
def test_every_part_is_built(path):
    cfg = load_config(path)
    for hook in (*cfg.default_hooks.values(), *cfg.get('custom_hooks', ())):
        assert HOOKS.get(hook.type) is not None
    assert METRICS.get(cfg.test_evaluator.type) is not None
    for loader in LOADERS:
        # The files of the data need not be there.
        dataset = DATASETS.build(dict(cfg[loader].dataset, lazy_init=True))
        tasks = build_tasks(dataset.metainfo['tasks'])
        ours = build_tasks(cfg.model.tasks)
        assert list(tasks) == list(ours)
        for name, task in tasks.items():
            assert task.out_channels == ours[name].out_channels
        for step in cfg[loader].dataset.pipeline:
            assert TRANSFORMS.get(step.type) is not None
    small = {}
    if '-96x128' not in path.stem:
        # The paper's sizes take long; they are asserted below.
        small = dict(channels=16, num_codes=24, code_dim=16, prototype_dim=12)
        small['backbone.arch'] = 'deit-tiny'
        known = Config.fromfile(path)
        small = {k: v for k, v in small.items() if _at(known, k) is not None}
    size = [min(length, 128) for length in _size(path)]
    model = MODELS.build(load_config(path, small).model).eval()
    with torch.no_grad():
        logits = model(torch.zeros(1, 3, *size), mode='tensor')
    for task, logit in zip(model.tasks.values(), logits, strict=True):
        assert logit.shape == (1, task.out_channels, *size)


def _size(path: Path) -> tuple[int, ...]:
    """Height and width, as the config's name says."""
    return tuple(map(int, re.search(r'-(\d+)x(\d+)-', path.stem).groups()))


@each_config
def test_the_numbers_are_those_of_the_name(path):
    cfg = load_config(path)
    name = re.fullmatch(
        r'(protomtl|mtl)_(r18|vit-l-fsdp|lite0)_(\d)xb(\d+)-(\w+)_'
        r'(\w+)-(\d+)x(\d+)-onelabel',
        path.stem,
    )
    method, backbone, _, batch, schedule, data, *size = name.groups()
    assert all(cfg[loader].batch_size == int(batch) for loader in LOADERS)
    epochs, lr, optimizer = {
        '200e': (200, 2e-5, 'Adam'),
        '60e': (60, 5e-4, 'AdamW'),
        '20e': (20, 5e-4, 'AdamW'),
        'demo': (8, 1e-3, 'AdamW'),
    }[schedule]
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.optim_wrapper.optimizer.lr == lr
    assert cfg.optim_wrapper.optimizer.type == optimizer
    assert cfg.optim_wrapper.clip_grad.max_norm == 10
    neck, head = cfg.model.neck, cfg.model.head
    small = '-96x128' in path.stem
    # One tiny network for the tables of benchmarks, frozen.
    tiny = backbone == 'lite0'
    width = 64 if tiny else 128 if small else 512
    assert neck.channels == width
    assert cfg.model.get('freeze_backbone', False) == tiny
    views = cfg.train_dataloader.dataset.get('fixed_views')
    assert views == (8 if tiny else None)
    kept = [hook.folder for hook in cfg.custom_hooks]
    assert kept == (['work_dirs/features'] if tiny else [])
    assert (neck.stride, neck.num_blocks) == (8, 2)
    assert head.reduction == 'balanced'
    assert cfg.model.consistency.weight == 0
    if method == 'protomtl':
        assert neck.type == 'PrototypeNeck'
        assert neck.quantizer.num_codes == (512 if small else 4096)
        assert neck.quantizer.code_dim == width
        assert neck.prototype_dim == (256 if small else 1024)
        assert neck.num_slots is None
        assert neck.prototypes_per_task == 1
        assert neck.temperature == 1.0
        assert neck.temperature_end is neck.temperature_steps is None
        assert neck.akg_loss.tke_enough == 1.0
        assert head.position_encoding == 'none'
        assert neck.token_stride == 2
        assert (neck.lambda_tae, neck.lambda_akg) == (1.0, 1.0)
        assert neck.akg_loss.margin == 0.3
        assert head.num_blocks == 2
        assert head.num_heads == (4 if small else 8)
        assert head.ffn_ratio == 2.0
    else:
        assert neck.type == 'MultiTaskNeck'
        assert set(neck) == {'type', 'channels', 'stride', 'num_blocks'}
        assert set(head) == {'type', 'reduction'}
    height, width = map(int, size)
    resize = [
        step['scale']
        for step in cfg.test_dataloader.dataset.pipeline
        if step['type'] == 'MultiTaskResize'
    ]
    pad = [
        step['size']
        for step in cfg.test_dataloader.dataset.pipeline
        if step['type'] == 'MultiTaskPad'
    ]
    assert resize == ([(width, height)] if (data, small) == ('nyuv2', True)
                      else [])  # fmt: skip
    assert pad == ([(height, width)] if data in ('pascal', 'nyudv2') else [])
    if data == 'synthetic':
        scenes = [cfg[loader].dataset.num_scenes for loader in LOADERS]
        assert scenes == ([480, 80, 80] if small else [1024, 256, 256])
        assert {cfg[x].dataset.size for x in LOADERS} == {(height, width)}
    splits = [cfg[loader].dataset.split for loader in LOADERS]
    assert splits == ['train', 'val', 'test' if data == 'synthetic' else 'val']


@pytest.mark.parametrize(
    ('data', 'weights', 'scores', 'mask'),
    [
        (
            'nyuv2-288x384',
            dict(semseg=1, depth=1, normals=1),
            dict(semseg='mIoU', depth='absErr', normals='mErr'),
            dict(mask_file='data/nyuv2/onelabel.pth'),
        ),
        (
            'cityscapes-128x256',
            dict(semseg=1, depth=1),
            dict(semseg='mIoU', depth='absErr'),
            dict(mask_file='data/cityscapes/onelabel.pth'),
        ),
        (
            'nyudv2-448x576',
            dict(semseg=1, depth=1, normals=10, edge=50),
            dict(semseg='mIoU', depth='RMSE', normals='mErr', edge='odsF'),
            dict(protocol='one-label', seed=0),
        ),
        (
            'pascal-512x512',
            dict(semseg=1, human_parts=2, sal=5, normals=10, edge=50),
            dict(
                semseg='mIoU', human_parts='mIoU', sal='maxF',
                normals='mErr', edge='odsF',
            ),
            dict(mask_file='data/pascal/new_onelabel.pth'),
        ),
        (
            'synthetic-96x128',
            dict(semseg=1, human_parts=2, sal=5, normals=10, edge=50, depth=1),
            dict(
                semseg='mIoU', human_parts='mIoU', sal='maxF',
                normals='mErr', edge='odsF', depth='RMSE',
            ),
            dict(protocol='one-label', seed=0),
        ),
    ],
)  # fmt: skip
def test_tasks_and_labels_of_a_data_set(data, weights, scores, mask):
    (path,) = METHOD.glob(f'*_r18_*_{data}-onelabel.py')
    cfg = load_config(path)
    tasks = build_tasks(cfg.tasks)
    assert {n: t.loss_weight for n, t in tasks.items()} == weights
    assert {n: t.standing_metric for n, t in tasks.items()} == scores
    assert cfg.train_dataloader.dataset.partial_labels == mask
    for loader in LOADERS[1:]:
        assert 'partial_labels' not in cfg[loader].dataset
        assert cfg[loader].dataset.test_mode is True


def test_facts_of_edges_and_disparity():
    for data, distance in (('nyudv2-448x576', .011), ('pascal-512x512', .0075),
                           ('synthetic-96x128', .011)):  # fmt: skip
        (path,) = (ROOT / 'configs/baselines').glob(f'*_{data}-onelabel.py')
        assert load_config(path).tasks.edge.max_dist == distance
    (path,) = (ROOT / 'configs/baselines').glob('*cityscapes*.py')
    assert load_config(path).tasks.depth.unit == 'disparity'


# ----- settings at the top level


@each_config
def test_every_top_level_setting_acts(path):
    """Each is read by a run, or referred to where it acts."""
    raw = Config.fromfile(path).to_dict()
    settings = set(raw) - RUN_KEYS
    assert {'backbone', 'batch_size', 'dataset_type', 'channels'} <= settings
    used = set()
    _references({k: v for k, v in raw.items() if k in RUN_KEYS}, used)
    for name in used & settings:
        _references(raw[name], used)
    assert used == settings
    # None is left beside what a run reads, where it would act no more.
    assert set(load_config(path).to_dict()) <= RUN_KEYS


def _references(value, names):
    if isinstance(value, dict):
        names |= {value[FROM]} if FROM in value else set()
        for item in value.values():
            _references(item, names)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _references(item, names)
    elif isinstance(value, str):
        names |= set(re.findall(r'\$\{(\w+)\}', value))


@pytest.mark.parametrize(
    ('name', 'value', 'places'),
    [
        ('num_codes', 64, ['model.neck.quantizer.num_codes']),
        ('code_dim', 64, ['model.neck.quantizer.code_dim']),
        ('num_slots', 5, ['model.neck.num_slots']),
        ('prototype_dim', 64, ['model.neck.prototype_dim']),
        ('temperature', 0.5, ['model.neck.temperature']),
        ('prototypes_per_task', 4, ['model.neck.prototypes_per_task']),
        ('temperature_end', 0.5, ['model.neck.temperature_end']),
        ('temperature_steps', 9, ['model.neck.temperature_steps']),
        ('tke_enough', 0.5, ['model.neck.akg_loss.tke_enough']),
        ('position_encoding', 'conv', ['model.head.position_encoding']),
        ('consistency_weight', 0.5, ['model.consistency.weight']),
        ('token_stride', 4, ['model.neck.token_stride']),
        ('lambda_tae', 0.5, ['model.neck.lambda_tae']),
        ('lambda_akg', 0.5, ['model.neck.lambda_akg']),
        ('num_blocks', 3, ['model.head.num_blocks']),
        ('num_heads', 2, ['model.head.num_heads']),
        ('ffn_ratio', 4.0, ['model.head.ffn_ratio']),
        ('channels', 64, ['model.neck.channels']),
        ('stride', 4, ['model.neck.stride']),
        ('decoder_blocks', 1, ['model.neck.num_blocks']),
        ('reduction', 'batch', ['model.head.reduction']),
        ('backbone.base_channels', 8, ['model.backbone.base_channels']),
        ('batch_size', 3, [f'{x}.batch_size' for x in LOADERS]),
        (
            'scale',
            (64, 48),
            [f'{x}.dataset.pipeline.2.scale' for x in LOADERS[:1]]
            + [f'{x}.dataset.pipeline.1.scale' for x in LOADERS[1:]],
        ),
        ('data_root', '/x', [f'{x}.dataset.data_root' for x in LOADERS]),
    ],
)
@pytest.mark.parametrize('way', ['command line', 'inherited'])
def test_a_setting_acts_in_all_its_places(way, name, value, places, tmp_path):
    if way == 'command line':
        cfg = load_config(SMALL, {name: value})
    else:
        # The config of a user, in a folder of his own.
        key, _, inner = name.partition('.')
        given = {inner: value} if inner else value
        mine = tmp_path / 'mine.py'
        mine.write_text(f'_base_ = {str(SMALL)!r}\n{key} = {given!r}\n')
        cfg = load_config(mine)
    before = load_config(SMALL)
    for place in places:
        assert _at(cfg, place) == value
        assert _at(before, place) != value
    if name == 'data_root':
        mask = cfg.train_dataloader.dataset.partial_labels
        assert mask == dict(mask_file='/x/onelabel.pth')


def _at(cfg, place):
    """What a config has at a dotted place, None: nothing."""
    for key in place.split('.'):
        cfg = cfg[int(key)] if key.isdigit() else (cfg or {}).get(key)
    return cfg


@pytest.mark.parametrize('name', ['pascal-512x512', 'nyudv2-448x576'])
def test_the_size_of_the_recipe_acts_in_crops_and_pads(name):
    (path,) = METHOD.glob(f'*{name}*')
    cfg = load_config(path, dict(size=(64, 96)))
    train = cfg.train_dataloader.dataset.pipeline
    assert [s.crop_size for s in train if 'crop_size' in s] == [(64, 96)]
    for loader in LOADERS:
        steps = cfg[loader].dataset.pipeline
        assert [s['size'] for s in steps if 'size' in s] == [(64, 96)]


def test_changing_the_backbone_is_one_line(tmp_path):
    mine = tmp_path / 'mine.py'
    mine.write_text(
        f'_base_ = {str(SMALL)!r}\n'
        "model = dict(backbone=dict(_delete_=True, type='mmpretrain.ConvNeXt',"
        " arch='atto', out_indices=(0, 1, 2, 3), gap_before_final_norm=False))"
    )
    model = MODELS.build(load_config(mine).model)
    assert type(model.backbone).__name__ == 'ConvNeXt'
    logits = dict(
        zip(model.tasks, model(torch.zeros(1, 3, 64, 64)), strict=True)
    )
    assert logits['semseg'].shape == (1, 13, 64, 64)


@pytest.mark.parametrize(
    'last_line', ['', 'model = dict(backbone=_base_.backbone)']
)
def test_swapping_a_file_of_a_backbone(tmp_path, last_line):
    # The second form is that of configs written for earlier versions.
    base = ROOT / 'configs/_base_'
    files = [
        'models/protomtl_small.py', 'backbones/mit_b0.py',
        'datasets/nyuv2_96x128.py', 'schedules/adamw_20e.py',
        'default_runtime.py',
    ]  # fmt: skip
    mine = tmp_path / 'mine.py'
    bases = [str(base / file) for file in files]
    mine.write_text(f'_base_ = {bases!r}\n{last_line}\n')
    found = load_config(mine).model.backbone.to_dict()
    expected = Config.fromfile(base / 'backbones/mit_b0.py').backbone
    assert found == expected.to_dict()


# ----- label protocols and single tasks


def test_protocols_differ_in_the_labels_only():
    key = 'train_dataloader.dataset.partial_labels'
    configs = [
        load_config(SMALL, options)
        for options in (
            {},
            {key: 'data/nyuv2/randomlabels.pth'},
            {key: 'full'},
            {f'{key}.protocol': 'ratio', f'{key}.ratio': 0.3},
        )
    ]
    masks = [c.train_dataloader.dataset.pop('partial_labels') for c in configs]
    assert masks == [
        dict(mask_file='data/nyuv2/onelabel.pth'),
        'data/nyuv2/randomlabels.pth',
        'full',
        dict(protocol='ratio', ratio=0.3),
    ]
    first, *others = (cfg.to_dict() for cfg in configs)
    assert all(other == first for other in others)


def test_a_single_task_differs_in_the_tasks_only():
    single = load_config(SMALL, dict(only_task='depth')).to_dict()
    whole = load_config(SMALL).to_dict()
    assert list(single['model']['tasks']) == ['depth']
    filtered = single['train_dataloader']['dataset'].pop('filter_cfg')
    assert filtered == dict(drop_unlabelled=True)
    assert single.pop('only_task') == 'depth'
    for cfg in (single, whole):
        cfg['model'].pop('tasks')
        for loader in LOADERS:
            cfg[loader]['dataset'].pop('tasks')
    assert single == whole


# ----- metafiles


def _models() -> dict[str, dict]:
    """Config file -> its entry in a metafile."""
    entries = [
        entry
        for file in METAFILES
        for entry in yaml.safe_load(file.read_text())['Models']
    ]
    configs = [entry['Config'] for entry in entries]
    assert len(configs) == len(set(configs))
    return dict(zip(configs, entries, strict=True))


def test_metafiles_list_every_config():
    files = {path.relative_to(ROOT).as_posix() for path in CONFIGS}
    assert set(_models()) == files


@each_config
def test_metafile_entry(path):
    entry = _models()[path.relative_to(ROOT).as_posix()]
    cfg = load_config(path)
    meta = yaml.safe_load((path.parent / 'metafile.yml').read_text())
    (collection,) = meta['Collections']
    assert (ROOT / collection['README']).is_file()
    assert entry['Name'] == path.stem
    assert entry['In Collection'] == collection['Name']
    data = entry['Metadata']['Training Data']
    assert data in collection['Metadata']['Training Data']
    assert entry['Metadata']['Epochs'] == cfg.train_cfg.max_epochs
    processes = int(re.search(r'_(\d)xb', path.stem)[1])
    batch = processes * cfg.train_dataloader.batch_size
    assert entry['Metadata']['Batch Size'] == batch
    # mmengine reads the key whether there are weights or not.
    assert 'Weights' in entry
    known = {
        measure
        for task in build_tasks(cfg.tasks).values()
        for measure in [task.standing_metric, 'absErr', 'RMSE']
    }
    for result in entry.get('Results', ()):
        assert result['Dataset'] == data
        assert result['Task']
        assert set(result['Metrics']) <= known
        assert all(isinstance(v, float) for v in result['Metrics'].values())


def test_mmengine_finds_a_config_by_its_name(tmp_path):
    index = dict(Import=[str(file) for file in METAFILES])
    (tmp_path / 'model-index.yml').write_text(yaml.safe_dump(index))
    found = BaseInferencer._get_models_from_metafile(str(tmp_path))
    assert {model['Name'] for model in found} == {p.stem for p in CONFIGS}


# ----- other files


def test_documents_name_configs_that_are_there():
    files = [
        *ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'),
        *ROOT.glob('configs/*/README.md'), *ROOT.glob('benchmarks/*.py'),
        *ROOT.glob('demo/*.py'), *ROOT.glob('tools/**/*.py'),
    ]  # fmt: skip
    number = 0
    for file in files:
        for name in re.findall(
            r'configs/(?:protomtl|baselines)/[\w./-]+\.py', file.read_text()
        ):
            number += 1
            assert (ROOT / name).is_file(), f'{file}: {name}'
            assert new_config(name) is None
    assert number > 10
