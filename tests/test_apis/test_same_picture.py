"""tools/test.py and the inferencer draw a scene alike, in the colours of the
data that the network was trained on.
"""

import copy
import runpy
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from mmprotomtl.apis import MultiTaskInferencer
from mmprotomtl.engine import load_config
from mmprotomtl.scenes.builder import CLASSES, PALETTE
from mmprotomtl.scenes.renderer import render
from mmprotomtl.tasks.semseg import class_colors
from mmprotomtl.testing import PLAIN, tiny_cfg
from tests.conftest import ROOT

H, W = 32, 48
LOAD = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskAnnotations')]
PACK = dict(type='PackMultiTaskInputs')
KEPT = dict(semseg=dict(num_classes=7), depth={})


@pytest.fixture(scope='module', autouse=True)
def _quick():
    """mmengine lays out the text of a config each time that it logs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            'yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)
        )
        yield


@pytest.fixture(scope='module')
def trained(tiny_config, tmp_path_factory):
    """A config that says no names and no colours, and its checkpoint; the
    data set of the scenes knows them.
    """
    place = tmp_path_factory.mktemp('trained')
    cfg = Config.fromfile(tiny_config)
    cfg.work_dir = str(place)
    cfg.tasks = KEPT
    cfg.model = tiny_cfg(KEPT, **PLAIN)
    del cfg.model['tasks']
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        del loader.dataset['tasks']
        loader.num_workers = 0
        loader.persistent_workers = False
        loader.dataset.num_scenes = 12
    cfg.test_dataloader.dataset.num_scenes = 2
    # As the inferencer's, for the last bits of a prediction.
    cfg.test_dataloader.batch_size = 1
    cfg.train_cfg.max_epochs = 1
    runner = Runner.from_cfg(load_config(cfg))
    runner.train()
    # Several classes, and depth of the whole scale.
    for part, bias in zip(runner.model.head.predictors, (4, 0), strict=True):
        torch.nn.init.normal_(part.weight)
        torch.nn.init.constant_(part.bias, bias)
    runner.save_checkpoint(
        str(place), 'a.pth', meta=None, save_optimizer=False, by_epoch=True
    )
    return cfg, place / 'a.pth'


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """What tools/test.py --show-dir draws of a config: name -> picture."""

    def draw(cfg, weights):
        cfg.dump(tmp_path / 'config.py')
        places = dict(work=tmp_path / 'tested', show=tmp_path / 'show')
        argv = ['test.py', tmp_path / 'config.py', weights]
        for name, place in places.items():
            argv += [f'--{name}-dir', place]
        monkeypatch.setattr(sys, 'argv', list(map(str, argv)))
        runpy.run_path(str(ROOT / 'tools/test.py'), run_name='__main__')
        return {
            path.stem: np.asarray(Image.open(path))
            for path in (tmp_path / 'show').iterdir()
        }

    return draw


@pytest.fixture
def own(trained, tmp_path):
    """A config for a folder of one's own: no data set in it knows names and
    colours.
    """
    cfg = copy.deepcopy(trained[0])
    for folder in ('images', 'masks', 'depth'):
        (tmp_path / 'mine' / folder).mkdir(parents=True)
    for i in range(2):
        image = render(2, i, (H, W)).image
        Image.fromarray(image).save(tmp_path / f'mine/images/{i}.png')
        label = Image.fromarray(render(2, i, (H, W)).kind.astype(np.uint8))
        label.save(tmp_path / f'mine/masks/{i}.png')
        depth = render(2, i, (H, W)).depth.astype(np.float32)
        np.save(tmp_path / f'mine/depth/{i}.npy', depth)
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
        cfg.pop(key)
    cfg.test_dataloader.dataset = dict(
        type='ImageFolderMTDataset',
        data_root=str(tmp_path / 'mine'),
        folders=dict(semseg='masks', depth='depth'),
        split='test',
        test_mode=True,
        pipeline=[*LOAD, PACK],
    )
    return cfg


def stripped(weights, path, *keys):
    """A checkpoint without some of its meta information."""
    stored = torch.load(weights, weights_only=False)
    for key in keys:
        del stored['meta'][key]
    torch.save(stored, path)
    return path


def expected_cells(maps, palette, depth_range):
    """Predictions in colour, without the package."""
    classes = np.asarray(palette, np.uint8)[maps['semseg'][0]]
    depth = maps['depth'][0]
    low, high = depth_range
    level = 1 - np.clip((depth - low) / (high - low), 0, 1)
    warm = cv2.applyColorMap(
        (level * 255).astype(np.uint8), cv2.COLORMAP_TURBO
    )[..., ::-1]
    warm[depth <= 0] = 0
    return dict(semseg=classes, depth=warm)


def cells(picture, infer, maps, *captions):
    """Task, or ``photo`` -> its last cell, at the size of the maps."""
    image = np.zeros((H, W, 3), np.uint8)
    rows = [(caption, maps) for caption in captions]
    found = {}
    for (name, _), place in infer.visualizer.sheet(image, rows).places.items():
        top, left, height, width = place
        cell = picture[top : top + height, left : left + width]
        # Enlarged by a whole number.
        assert (height % H, width % W) == (0, 0)
        found[name] = cell[:: height // H, :: width // W]
    return found


def same_pictures(drawn, infers, number=1, scaled=True):
    """Compare them, and return the maps and the inferencer's cells.

    Args:
        drawn: Pictures of labels and predictions.
        infers: What draws predictions alone.
        number: Of the scene.
        scaled: Whether depth has a scale that does not depend on the picture.
    """
    image = render(2, number, (H, W)).image
    for infer in infers:
        done = infer(image, channel_order='rgb')
        (picture,) = done['visualization']
        maps = dict(done['predictions'][0])
        found = cells(picture, infer, maps, 'prediction')
        assert np.array_equal(found['photo'], image)
        tested = cells(drawn[str(number)], infer, maps, 'label', 'prediction')
        assert found.keys() == tested.keys() == {'photo', *KEPT}
        for name, cell in tested.items():
            if scaled or name != 'depth':
                assert np.array_equal(cell, found[name]), name
    return maps, found


def test_a_data_set_with_colours(trained, drawn):
    cfg, weights = trained
    infers = [
        MultiTaskInferencer(weights=str(weights), device='cpu'),
        MultiTaskInferencer(copy.deepcopy(cfg), str(weights), 'cpu'),
    ]
    maps, found = same_pictures(drawn(cfg, weights), infers)
    assert len(np.unique(maps['semseg'])) > 1
    assert np.ptp(maps['depth']) > 0.1
    for name, cell in expected_cells(maps, PALETTE, (0.5, 8.0)).items():
        assert np.array_equal(found[name], cell), name
    for infer in infers:
        assert infer.model.tasks['semseg'].classes == tuple(CLASSES)


def test_colours_travel_with_the_checkpoint(trained, own, drawn, tmp_path):
    """The data that is tested knows nothing."""
    _, weights = trained
    infers = [
        MultiTaskInferencer(weights=str(weights), device='cpu'),
        MultiTaskInferencer(copy.deepcopy(own), str(weights), 'cpu'),
    ]
    maps, found = same_pictures(drawn(own, weights), infers)
    for name, cell in expected_cells(maps, PALETTE, (0.5, 8.0)).items():
        assert np.array_equal(found[name], cell), name
    assert infers[1].model.tasks['semseg'].classes == tuple(CLASSES)
    # What a config says itself goes before.
    other = [(9 * i, 8, 7) for i in range(7)]
    own.tasks = dict(
        semseg=dict(num_classes=7, palette=other),
        depth=dict(draw_range=(1.0, 3.0)),
    )
    infer = MultiTaskInferencer(copy.deepcopy(own), str(weights), 'cpu')
    maps, found = same_pictures(drawn(own, weights), [infer])
    for name, cell in expected_cells(maps, other, (1.0, 3.0)).items():
        assert np.array_equal(found[name], cell), name
    assert infer.model.tasks['semseg'].classes == tuple(CLASSES)


def test_a_checkpoint_that_says_nothing(trained, own, drawn, tmp_path):
    """One of weights, or of an early version: what the config knows."""
    cfg, weights = trained
    silent = stripped(weights, tmp_path / 'a.pth', 'dataset_meta')
    # Its own config still knows.
    infers = [
        MultiTaskInferencer(weights=str(silent), device='cpu'),
        MultiTaskInferencer(copy.deepcopy(cfg), str(silent), 'cpu'),
    ]
    maps, found = same_pictures(drawn(cfg, silent), infers)
    expected = expected_cells(maps, PALETTE, (0.5, 8.0))
    assert np.array_equal(found['semseg'], expected['semseg'])
    # A config that knows nothing has colours by number, and the depth of the
    # picture from end to end.
    silent = stripped(silent, tmp_path / 'b.pth', 'cfg')
    infer = MultiTaskInferencer(copy.deepcopy(own), str(silent), 'cpu')
    maps, found = same_pictures(drawn(own, silent), [infer], scaled=False)
    known = maps['depth'][maps['depth'] > 0]
    ends = known.min(), known.max()
    for name, cell in expected_cells(maps, class_colors(7), ends).items():
        assert np.array_equal(found[name], cell), name
    assert infer.model.tasks['semseg'].classes == tuple('0123456')


def test_padding_is_cut_off(trained, drawn):
    """The photo lies where its labels lie."""
    cfg, weights = trained
    cfg = copy.deepcopy(cfg)
    cfg.test_dataloader.dataset.pipeline = [
        LOAD[0], dict(type='MultiTaskPad', size=(64, 96)), LOAD[1], PACK,
    ]  # fmt: skip
    infer = MultiTaskInferencer(copy.deepcopy(cfg), str(weights), 'cpu')
    same_pictures(drawn(cfg, weights), [infer])
