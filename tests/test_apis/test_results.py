"""What the inferencer returns, writes and refuses."""

import json
import pickle
import re
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import save_checkpoint
from PIL import Image

from mmprotomtl.apis import MultiTaskInferencer, inferencer
from mmprotomtl.apis.preparation import image_pipeline, input_shape
from mmprotomtl.engine import load_config
from mmprotomtl.registry import MODELS
from mmprotomtl.scenes.builder import CLASSES, PALETTE
from mmprotomtl.scenes.renderer import render
from mmprotomtl.testing import PLAIN, tiny_cfg
from mmprotomtl.utils.names import models
from tests.conftest import ROOT

TASKS = dict(semseg=dict(num_classes=7), depth={}, normals={}, sal={})
IMAGE = render(0, 3, (32, 48)).image


@pytest.fixture(scope='module')
def cfg(tiny_config):
    cfg = Config.fromfile(tiny_config)
    cfg.tasks = TASKS
    cfg.model = tiny_cfg(TASKS, **PLAIN)
    del cfg.model['tasks']
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        del loader.dataset['tasks']
    return cfg


@pytest.fixture(scope='module')
def weights(cfg, tmp_path_factory):
    whole = load_config(cfg)
    torch.manual_seed(3)
    model = MODELS.build(whole.model)
    for part in model.head.predictors:
        torch.nn.init.normal_(part.weight)
    path = tmp_path_factory.mktemp('weights') / 'a.pth'
    save_checkpoint(
        dict(state_dict=model.state_dict(), meta=dict(cfg=cfg.pretty_text)),
        str(path),
    )
    return path


@pytest.fixture(scope='module')
def infer(weights):
    return MultiTaskInferencer(weights=weights, device='cpu')


def test_a_typed_result(infer):
    (result,) = infer(IMAGE, channel_order='rgb')['predictions']
    assert list(result) == sorted(TASKS)
    for name in TASKS:
        assert result[name] is getattr(result, name)
    assert result.depth.shape == (1, 32, 48) and result.normals.shape[0] == 3
    assert (result.shape, result.photo_shape) == ((32, 48), (32, 48))
    info = result.info
    assert info['semseg'].classes == tuple(CLASSES)
    assert info['semseg'].palette == tuple(map(tuple, PALETTE))
    assert info['semseg'].unit == 'class'
    assert info['depth'].unit == 'metres'
    assert info['depth'].value_range == (0.5, 8.0)
    assert 'z forward' in info['normals'].unit
    assert info['sal'][0] == 'probability' and info['sal'][3] == (0, 1)
    assert info['sal'].classes == ()
    assert result.trained_on.datasets == ('SyntheticScenesDataset',)
    assert result.trained_on.input_shape == (32, 48)
    assert 'depth: 1x32x48 metres' in repr(result)
    with pytest.raises(AttributeError, match="'edge' is neither a task"):
        _ = result.edge
    again = pickle.loads(pickle.dumps(result))
    assert np.array_equal(again.depth, result.depth)
    assert again.info == result.info


def test_arrays_are_bgr_unless_said(infer):
    """As cv2 reads them; the other order gives other numbers."""
    bgr = infer(np.ascontiguousarray(IMAGE[..., ::-1]))['predictions'][0]
    rgb = infer(IMAGE, channel_order='rgb')['predictions'][0]
    wrong = infer(IMAGE)['predictions'][0]
    assert np.array_equal(bgr.depth, rgb.depth)
    assert not np.allclose(wrong.depth, rgb.depth)


def test_files_of_predictions(infer, tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / 'a.png')
    out = infer(
        tmp_path, out_dir=tmp_path / 'out', img_out_dir='vis',
        pred_out_dir='pred', return_vis=False,
    )  # fmt: skip
    assert out['visualization'] == []
    (result,) = out['predictions']
    places = {str(Path(f).relative_to(tmp_path)) for f in result.files}
    assert places == {
        'out/vis/0_a.png', 'out/pred/depth/0_a.npy', 'out/pred/sal/0_a.png',
        'out/pred/semseg/0_a.png', 'out/pred/normals/0_a.npy',
    }  # fmt: skip
    assert all(Path(f).is_file() for f in result.files)
    depth = np.load(tmp_path / 'out/pred/depth/0_a.npy')
    assert np.array_equal(depth, result.depth)
    classes = np.asarray(Image.open(tmp_path / 'out/pred/semseg/0_a.png'))
    assert np.array_equal(classes, result.semseg[0])
    share = np.asarray(Image.open(tmp_path / 'out/pred/sal/0_a.png'))
    assert np.abs(share / 255 - result.sal[0]).max() < 0.5 / 255 + 1e-6
    # The folder has its outputs in it now, which are no images of it.
    assert infer(tmp_path)['skipped'] == [(str(tmp_path / 'out'), 'a folder')]
    # Each of the two works alone.
    infer(IMAGE, pred_out_dir=tmp_path / 'maps', return_vis=False)
    assert (tmp_path / 'maps/depth/0_array.npy').is_file()


def test_opacity(infer):
    """Of every task; photo and prediction of a cell where the sheet says."""
    maps = dict(infer(IMAGE)['predictions'][0])
    places = infer.visualizer.sheet(IMAGE, [('prediction', maps)]).places

    def cell(key, **kwargs):
        out = infer(IMAGE, channel_order='rgb', **kwargs)
        top, left, height, width = places[key]
        picture = out['visualization'][0].astype(float)
        return picture[top : top + height, left : left + width]

    photo = cell(('photo', ''))
    for name in maps:
        key = name, 'prediction'
        full, half = cell(key, opacity=1), cell(key, opacity=0.5)
        assert np.array_equal(cell(key, opacity=0), photo)
        assert np.abs(half - (full + photo) / 2).max() <= 1
        assert not np.array_equal(full, photo)
    for wrong in (1.5, -0.1):
        with pytest.raises(ValueError, match='opacity=.* not allowed'):
            infer(IMAGE, opacity=wrong)


def test_arguments_that_are_refused(infer, monkeypatch, weights):
    for key in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(key, raising=False)

    def fail(*args, **kwargs):
        raise AssertionError('predicted before the refusal')

    monkeypatch.setattr(infer, 'forward', fail)
    for call in (infer, infer.stream):
        with pytest.raises(ValueError, match='show=True: there is no display'):
            call(IMAGE, show=True)
        with pytest.raises(ValueError, match='unknown argument.*with_labels'):
            call(IMAGE, with_labels=False)
        with pytest.raises(ValueError, match='batch_size=0'):
            call(IMAGE, batch_size=0)
        with pytest.raises(ValueError, match="channel_order='gbr'"):
            call(IMAGE, channel_order='gbr')
    with pytest.raises(ValueError, match=r'0 has no end.*infer\.stream'):
        infer(0)
    with pytest.raises(ValueError, match='max_side=0'):
        MultiTaskInferencer(weights=weights, max_side=0)
    with pytest.raises(ValueError, match=r'input_size=\(0, 4\)'):
        MultiTaskInferencer(weights=weights, input_size=(0, 4))
    # The visualizer itself would wait for ever, too.
    with pytest.raises(ValueError, match='no display'):
        infer.visualizer.show(IMAGE)


def test_batches_give_the_same(infer):
    images = [render(0, i, (32, 48)).image for i in range(3)]
    one = infer(images)['predictions']
    two = infer((i for i in images), batch_size=2)['predictions']
    assert len(two) == 3
    for a, b in zip(one, two, strict=True):
        assert np.allclose(a.depth, b.depth, atol=1e-4)


def test_results_that_no_memory_holds(infer, monkeypatch, tmp_path):
    """A long video is refused at its first frame, with what to do."""
    path = tmp_path / 'clip.avi'
    code = cv2.VideoWriter_fourcc(*'MJPG')
    writer = cv2.VideoWriter(str(path), code, 10, (48, 32))
    for _ in range(6):
        writer.write(np.ascontiguousarray(IMAGE[..., ::-1]))
    writer.release()
    one = infer(IMAGE)['predictions'][0].nbytes
    monkeypatch.setattr(inferencer, 'MAX_HELD', 5 * one)
    seen = []
    forward = infer.forward
    monkeypatch.setattr(
        infer, 'forward', lambda batch: seen.append(1) or forward(batch)
    )
    with pytest.raises(ValueError, match=r'not held.*infer\.stream'):
        infer(path)
    assert len(seen) == 1
    names = [r.name for r in infer.stream(path)]
    assert names == [f'clip_{n:06d}' for n in range(6)]


def sizes_seen(infer, image, monkeypatch):
    """Sizes of the images that the backbone gets."""
    seen = []
    maps = infer.model.backbone_maps

    def note(inputs):
        seen.append(tuple(inputs.shape[-2:]))
        return maps(inputs)

    monkeypatch.setattr(infer.model, 'backbone_maps', note)
    (result,) = infer(image)['predictions']
    return result, seen


@pytest.mark.parametrize('shape', [(3000, 4000), (4000, 3000)])
def test_a_large_photo(infer, shape, monkeypatch):
    """The network gets its own size; memory is bounded."""
    photo = np.zeros((*shape, 3), np.uint8)
    tracemalloc.start()
    result, seen = sizes_seen(infer, photo, monkeypatch)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 32 x 48 of the config, padded to multiples of 32.
    padded = {(3000, 4000): (32, 64), (4000, 3000): (64, 32)}
    assert seen == [padded[shape]]
    assert result.photo_shape == shape
    assert max(result.shape) == 1280 and min(result.shape) == 960
    assert result.depth.shape[1:] == result.shape
    # Pictures are for a screen.
    assert max(result.picture.shape) <= 1600
    # Seven maps of floats and six pictures of 1.2 million pixels, and copies.
    assert held < 300e6, held


def config_with(cfg, *steps):
    """The config with other steps before the packing."""
    cfg = load_config(cfg)
    load, labels, pack = cfg.test_dataloader.dataset.pipeline
    cfg.test_dataloader.dataset.pipeline = [load, *steps, labels, pack]
    return cfg


@pytest.mark.parametrize(
    ('steps', 'expected'),
    [
        # The pipeline resizes by itself.
        ([dict(type='MultiTaskResize', scale=(96, 64))], (64, 96)),
        # No image may exceed what it pads to.
        ([dict(type='MultiTaskPad', size=(64, 128))], (64, 128)),
    ],
)
def test_the_size_that_a_pipeline_says(
    cfg, weights, monkeypatch, steps, expected
):
    pipeline = config_with(cfg, *steps)
    infer = MultiTaskInferencer(pipeline, weights, 'cpu')
    photo = np.zeros((600, 900, 3), np.uint8)
    result, seen = sizes_seen(infer, photo, monkeypatch)
    assert seen == [expected] and result.shape == (600, 900)
    # One that stands: padding has a height and a width that it has to fit in.
    upright = photo.transpose(1, 0, 2)
    result, seen = sizes_seen(infer, upright, monkeypatch)
    padded = 'Pad' in steps[0]['type']
    assert seen[-1] == (expected if padded else expected[::-1])
    assert result.shape == (900, 600)
    with pytest.raises(ValueError, match='input_size=.*pipeline'):
        MultiTaskInferencer(pipeline, weights, 'cpu', input_size=(64, 64))


def test_other_sizes(cfg, weights, monkeypatch):
    photo = np.zeros((600, 900, 3), np.uint8)
    infer = MultiTaskInferencer(
        cfg, weights, 'cpu', input_size=(128, 192), max_side=300
    )
    result, seen = sizes_seen(infer, photo, monkeypatch)
    assert seen == [(128, 192)] and result.shape == (200, 300)
    # Small images stay as they are.
    result, seen = sizes_seen(infer, photo[:64, :96], monkeypatch)
    assert seen[-1] == (64, 96)
    # A config that says nothing: 640 pixels at most.
    other = load_config(cfg)
    other.test_dataloader.dataset = dict(
        type='ImageFolderMTDataset',
        data_root='none',
        folders={name: name for name in TASKS},
        pipeline=cfg.test_dataloader.dataset.pipeline,
    )
    other.pop('train_dataloader')
    infer = MultiTaskInferencer(other, weights, 'cpu')
    assert sizes_seen(infer, photo, monkeypatch)[1] == [(448, 640)]


def test_weights_that_say_nothing(cfg, weights, tmp_path):
    stored = torch.load(weights, weights_only=False)
    torch.save(dict(state_dict=stored['state_dict']), tmp_path / 'b.pth')
    infer = MultiTaskInferencer(cfg, tmp_path / 'b.pth', 'cpu')
    (result,) = infer(IMAGE)['predictions']
    assert result.trained_on == ((), (), None)
    assert json.dumps(result.trained_on)


def test_every_config_says_the_size_of_its_name():
    """What photos are reduced to is what the network was trained on."""
    for name, entry in models().items():
        whole = load_config(ROOT / entry['Config'])
        sizes = re.search(r'-(\d+)x(\d+)-onelabel', name)
        expected = tuple(map(int, sizes.groups()))
        assert input_shape(whole, image_pipeline(whole)) == expected, name
