"""Features of a frozen backbone that are kept: the same results, computed
once; refused where they would not be the same.
"""

import multiprocessing
from typing import ClassVar

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModule
from torch import nn

from mmprotomtl.datasets import SyntheticScenesDataset
from mmprotomtl.datasets.samplers import SeededIndex
from mmprotomtl.engine import MultiTaskRunner
from mmprotomtl.models import FeatureCache
from mmprotomtl.registry import HOOKS
from mmprotomtl.testing import tiny_run
from tests.conftest import ROOT

TASKS = dict(semseg=dict(num_classes=7), depth=dict())
SETTINGS = dict(type='Counting', width=3)


class Counting(BaseModule):
    """A backbone of two maps that counts the images that it gets."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.factor = factor
        self.images = 0
        self.requires_grad_(False).eval()

    def forward(self, images):
        self.images += len(images)
        first = self.norm(self.conv(images)) * self.factor
        return first, first.relu()[..., ::2, ::2]


def images(number=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, 3, 8, 12, generator=generator)


def same(found, expected):
    assert len(found) == len(expected)
    return all(map(torch.equal, found, expected))


def entries(folder):
    """The files of features, without what says whose they are."""
    return [p for p in folder.rglob('*') if p.is_file() and p.suffix == '']


# ----- the cache


def test_what_is_known_is_not_computed(tmp_path):
    backbone, batch = Counting(), images(4)
    expected = backbone(batch)
    backbone.images = 0
    cache = FeatureCache(SETTINGS, tmp_path, 'float32')
    assert same(cache(backbone, batch[:2]), backbone(batch[:2]))
    assert backbone.images == 4
    # Two of four are known, in whatever place.
    order = [3, 1, 0, 2]
    found = cache(backbone, batch[order])
    for map_, whole in zip(found, expected, strict=True):
        torch.testing.assert_close(map_, whole[order])
    assert backbone.images == 8
    # All are; to the next run, too.
    assert same(cache(backbone, batch[order]), found)
    again = FeatureCache(dict(SETTINGS, init_cfg='x'), tmp_path, 'float32')
    assert same(again(backbone, batch[order]), found)
    assert backbone.images == 8
    assert len(entries(tmp_path)) == 4


def test_float16_is_the_rounded_result_from_the_first_time_on(tmp_path):
    backbone, batch = Counting(), images()
    rounded = [m.half().float() for m in backbone(batch)]
    assert not same(rounded, backbone(batch))
    cache = FeatureCache(SETTINGS, tmp_path)
    assert same(cache(backbone, batch), rounded)
    assert same(cache(backbone, batch), rounded)


def test_what_is_too_large_for_float16_is_refused(tmp_path):
    backbone = Counting(factor=1e6)
    with pytest.raises(ValueError, match=r"dtype='float16': a feature of .*e"):
        FeatureCache(SETTINGS, tmp_path)(backbone, images())
    assert not entries(tmp_path)
    found = FeatureCache(SETTINGS, tmp_path, 'float32')(backbone, images())
    assert same(found, backbone(images()))
    with pytest.raises(ValueError, match='choose .float16., .float32.'):
        FeatureCache(SETTINGS, tmp_path, 'int8')


@pytest.mark.parametrize('what', ['weight', 'statistics', 'loaded', 'address'])
def test_features_of_other_weights_are_not_found(tmp_path, what):
    backbone, batch = Counting(), images()
    cache = FeatureCache(SETTINGS, tmp_path, 'float32')
    before = cache(backbone, batch)
    if what == 'weight':
        backbone.conv.weight[0, 0, 0, 0] += 1
    elif what == 'statistics':
        backbone.norm.running_mean[0] += 1
    elif what == 'loaded':
        backbone.load_state_dict(Counting().state_dict())
    else:
        backbone.conv.weight.data = backbone.conv.weight.data + 1
    found = cache(backbone, batch)
    assert same(found, backbone(batch))
    assert not torch.equal(found[0], before[0])


def test_other_settings_of_the_backbone_have_another_folder(tmp_path):
    backbone = Counting()
    FeatureCache(SETTINGS, tmp_path)(backbone, images())
    FeatureCache(dict(SETTINGS, width=4), tmp_path)(backbone, images())
    assert backbone.images == 6
    assert len({p.parents[1] for p in entries(tmp_path)}) == 2


def damaged(content, way):
    return {
        'empty': b'',
        'cut': content[: len(content) // 2],
        'last byte': content[:-1] + bytes([content[-1] ^ 1]),
        'shape': content.replace(b'[4, 8, 12]', b'[4, 12, 8]'),
        'longer': content + b'x',
    }[way]


@pytest.mark.parametrize(
    'way', ['empty', 'cut', 'last byte', 'shape', 'longer']
)
def test_a_damaged_entry_is_computed_again(tmp_path, way):
    backbone, batch = Counting(), images()
    cache = FeatureCache(SETTINGS, tmp_path, 'float32')
    expected = cache(backbone, batch)
    file = entries(tmp_path)[1]
    whole = file.read_bytes()
    file.write_bytes(damaged(whole, way))
    assert file.read_bytes() != whole
    assert same(cache(backbone, batch), expected)
    assert backbone.images == 6
    assert file.read_bytes() == whole


def read_thrice(folder, backbone, out):
    cache = FeatureCache(SETTINGS, folder, 'float32')
    torch.save([cache(backbone, images(16)) for _ in range(3)], out)


def test_several_runs_write_at_the_same_time(tmp_path):
    backbone, folder = Counting(), tmp_path / 'features'
    expected = backbone(images(16))
    outs = [tmp_path / str(number) for number in range(3)]
    context = multiprocessing.get_context('fork')
    processes = [
        context.Process(target=read_thrice, args=(folder, backbone, out))
        for out in outs
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = [maps for out in outs for maps in torch.load(out)]
    assert len(found) == 9
    assert all(same(maps, expected) for maps in found)
    assert len(entries(folder)) == 16


def test_a_backbone_that_trains_is_refused(tmp_path):
    cache, backbone = FeatureCache(SETTINGS, tmp_path), Counting()
    backbone.norm.train()
    with pytest.raises(ValueError, match=r'training mode \(norm\)'):
        cache(backbone, images())
    backbone.eval()
    backbone.conv.weight.requires_grad_(True)
    with pytest.raises(ValueError, match=r'1 weights .* as conv\.weight'):
        cache(backbone, images())


# ----- fixed views

PIPELINE = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
    dict(type='MultiTaskRandomScaleCrop', scales=(1.5,)),
    dict(type='MultiTaskRandomFlip', prob=0.5),
    dict(type='PackMultiTaskInputs'),
]


def scenes(**kwargs):
    return SyntheticScenesDataset(
        size=(32, 48), num_scenes=4, tasks=TASKS, pipeline=PIPELINE, **kwargs
    )


def seen(data, index, seeds):
    return {
        data[SeededIndex(index, seed)]['inputs'].numpy().tobytes()
        for seed in seeds
    }


def test_fixed_views():
    data, free = scenes(fixed_views=3), scenes()
    for index in range(4):
        views = seen(data, index, range(12))
        # As many as there are, each reached by its own seeds.
        assert len(views) == 3
        assert len(seen(data, index, (1, 4, 301))) == 1
        # The labels are those of the view.
        item = data[SeededIndex(index, 5)]['data_samples'].gt_maps
        again = data[SeededIndex(index, 2)]['data_samples'].gt_maps
        assert torch.equal(item.depth, again.depth)
    assert len(seen(free, 0, range(12))) == 12
    # Images do not share their crops: the seed is of image and view.
    first, second = (
        data[SeededIndex(i, 0)]['data_samples'].metainfo for i in (0, 1)
    )
    assert first['sample_id'] != second['sample_id']


def test_an_image_has_its_views_in_every_part_of_the_data():
    whole = scenes(fixed_views=2)
    part = scenes(
        fixed_views=2, holdout=dict(fraction=0.5, seed=0, part='val')
    )
    places = {
        whole.get_data_info(i)['sample_id']: i for i in range(len(whole))
    }
    for index in range(len(part)):
        place = places[part.get_data_info(index)['sample_id']]
        assert seen(part, index, (0, 1)) == seen(whole, place, (0, 1))


def test_a_number_of_views_below_one_is_refused():
    with pytest.raises(ValueError, match='fixed_views=0 is not allowed'):
        scenes(fixed_views=0)


# ----- runs


@HOOKS.register_module(force=True)
class KeepLossesHook(Hook):
    """Keeps the losses of each step."""

    losses: ClassVar[list] = []
    start: ClassVar[dict] = {}

    def before_train(self, runner):
        state = runner.model.state_dict()
        self.start.update({k: v.clone() for k, v in state.items()})

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ):
        self.losses.append({k: v.item() for k, v in outputs.items()})


def run(folder, feature_folder=None, dtype='float32', views=2, frozen=True):
    """Train; returns runner and losses."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run(TASKS))
    cfg.work_dir = str(folder)
    cfg.model.freeze_backbone = frozen
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.fixed_views = views
    cfg.custom_hooks = [dict(type='KeepLossesHook')]
    if feature_folder:
        cfg.custom_hooks.append(
            dict(
                type='FeatureCacheHook',
                folder=str(feature_folder),
                dtype=dtype,
            )
        )
    cfg.train_cfg.max_epochs = 2
    KeepLossesHook.losses.clear()
    runner = MultiTaskRunner.from_cfg(cfg)
    runner.train()
    return runner, [*KeepLossesHook.losses]


def test_a_run_with_kept_features_is_the_run_without(tmp_path):
    runner, expected = run(tmp_path / 'a')
    assert len(expected) == 12
    features = tmp_path / 'features'
    with_cache, losses = run(tmp_path / 'b', features)
    assert losses == expected
    # Bit for bit, and with the same names: the cache leaves no trace.
    theirs = runner.model.state_dict()
    ours = with_cache.model.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    # 24 images of 2 views, of which 2 epochs miss some.
    number = len(entries(features))
    assert 24 < number < 48
    # The next run finds them all, and rounding changes little.
    _, rounded = run(tmp_path / 'c', features, 'float16')
    assert rounded != expected
    for one, other in zip(rounded[:6], expected[:6], strict=True):
        assert one['loss'] == pytest.approx(other['loss'], rel=0.01)
    assert len(entries(features)) == 2 * number


def test_a_frozen_backbone_stays_as_it_is(tmp_path):
    runner, _ = run(tmp_path)
    assert not any(m.training for m in runner.model.backbone.modules())
    assert runner.model.neck.training
    state = runner.model.state_dict()
    changed = {
        name.split('.')[0]
        for name, value in KeepLossesHook.start.items()
        if not torch.equal(value, state[name])
    }
    assert changed == {'neck', 'head'}


def test_a_run_whose_backbone_trains_is_refused_at_its_start(tmp_path):
    with pytest.raises(ValueError, match=r'Set model\.freeze_backbone=True'):
        run(tmp_path, tmp_path / 'features', frozen=False)
    assert not KeepLossesHook.losses
    assert not (tmp_path / 'features').exists()


def test_new_views_at_every_step_are_warned_of(tmp_path):
    run(tmp_path, tmp_path / 'features', views=None)
    (log,) = tmp_path.glob('*/*.log')
    assert 'train_data has no fixed_views' in log.read_text()
