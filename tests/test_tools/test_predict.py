"""tools/predict.py and the demos write what the inferencer predicts."""

import sys

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import save_checkpoint
from PIL import Image

from mmprotomtl import __main__ as command
from mmprotomtl.apis import MultiTaskInferencer
from mmprotomtl.registry import MODELS
from mmprotomtl.scenes.renderer import render
from mmprotomtl.testing import TASKS
from mmprotomtl.visualization import MultiTaskLocalVisualizer
from tests.conftest import ROOT

IMAGES = [render(0, i, (32, 48)).image for i in range(2)]


@pytest.fixture(scope='module')
def weights(tiny_config, tmp_path_factory):
    cfg = Config.fromfile(tiny_config)
    model = MODELS.build(cfg.model)
    path = tmp_path_factory.mktemp('weights') / 'a.pth'
    meta = dict(cfg=cfg.pretty_text)
    save_checkpoint(dict(state_dict=model.state_dict(), meta=meta), str(path))
    return str(path)


@pytest.fixture(scope='module')
def expected(weights):
    return MultiTaskInferencer(weights=weights, device='cpu')(
        IMAGES, channel_order='rgb'
    )


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'photos').mkdir()
    for name, image in zip('ab', IMAGES, strict=True):
        Image.fromarray(image).save(f'photos/{name}.png')
    (tmp_path / 'photos/readme.txt').write_text('')
    return tmp_path


def run(*words):
    """Run a demo in this process, as the command runs a tool."""
    sys.argv = list(map(str, words))
    command._run(ROOT / words[0])


@pytest.fixture(autouse=True)
def _argv(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['test'])


def test_the_command(photos, weights, expected, capsys):
    command.main(
        ['predict', 'photos', '--weights', weights, '--pred-out-dir', 'maps',
         '--device', 'cpu', '--batch-size', '2']
    )  # fmt: skip
    shown = capsys.readouterr().out
    assert 'photos/b.png -> outputs/1_b.png outputs/maps/depth/1_b' in shown
    assert 'trained on SyntheticScenesDataset' in shown
    for i, name in enumerate(('0_a', '1_b')):
        picture = np.asarray(Image.open(f'outputs/{name}.png'))
        assert np.array_equal(picture, expected['visualization'][i])
        depth = np.load(f'outputs/maps/depth/{name}.npy')
        result = expected['predictions'][i]
        assert np.allclose(depth, result.depth, atol=1e-4)


def test_a_number_is_a_webcam(photos, weights, monkeypatch):
    opened = []
    capture = cv2.VideoCapture
    monkeypatch.setattr(
        cv2, 'VideoCapture', lambda at: opened.append(at) or capture('none')
    )
    words = ['predict', '7', '--weights', weights, '--device', 'cpu']
    with pytest.raises(ValueError, match='webcam7: no webcam'):
        command.main(words)
    assert opened == [7]
    # Unless it is the name of a folder.
    (photos / 'photos').rename(photos / '7')
    command.main(words)
    assert opened == [7]
    assert (photos / 'outputs/1_b.png').is_file()


def test_image_demo(photos, weights, tiny_config, expected):
    args = ('photos/a.png', tiny_config, weights, '--device', 'cpu')
    run('demo/image_demo.py', *args, '--out-file', 'out/a.png')
    picture = np.asarray(Image.open('out/a.png'))
    assert np.array_equal(picture, expected['visualization'][0])
    with pytest.raises(SystemExit):
        run('demo/image_demo.py', *args)


def test_video_demo(photos, weights, tiny_config, expected, capsys):
    code = cv2.VideoWriter_fourcc(*'MJPG')
    writer = cv2.VideoWriter('clip.avi', code, 10, (48, 32))
    for _ in range(3):
        writer.write(np.ascontiguousarray(IMAGES[0][..., ::-1]))
    writer.release()
    args = ('clip.avi', tiny_config, weights, '--device', 'cpu')
    run('demo/video_demo.py', *args, '--output-file', 'out.avi')
    assert '3 frames' in capsys.readouterr().out
    reader = cv2.VideoCapture('out.avi')
    frames = []
    while (read := reader.read())[0]:
        frames.append(read[1])
    assert len(frames) == 3
    # Without the keys of colours, which differ in height from frame to frame.
    height, width = expected['visualization'][0].shape[:2]
    assert frames[0].shape[0] < height
    assert frames[0].shape[1] == width
    # The photo in its place, in its colours, but for two compressions.
    top, left, high, wide = photo_place(expected['predictions'][0])
    photo = frames[2][top : top + high, left : left + wide, ::-1].astype(int)
    image = cv2.resize(IMAGES[0], (wide, high), interpolation=0).astype(int)
    assert np.abs(photo - image).mean() < 12
    with pytest.raises(SystemExit, match='cannot be written'):
        run('demo/video_demo.py', *args, '--output-file', 'none/out.avi')


def photo_place(maps):
    """Where a picture of predictions has the photo."""
    visualizer = MultiTaskLocalVisualizer(tasks=TASKS)
    rows = [('prediction', dict(maps))]
    return visualizer.sheet(IMAGES[0], rows).places['photo', '']
