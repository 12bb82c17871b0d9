"""The examples of docs/inference.md and of the README run as they stand."""

import re
import shutil

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import save_checkpoint
from PIL import Image

from mmprotomtl.registry import MODELS
from mmprotomtl.scenes.renderer import render
from tests.conftest import ROOT

BLOCK = re.compile(r'^```python\n(.*?)^```', re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(tiny_config, tmp_path, monkeypatch):
    """A folder with the files that the examples name."""
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(tiny_config)
    model = MODELS.build(cfg.model)
    weights = dict(
        state_dict=model.state_dict(), meta=dict(cfg=cfg.pretty_text)
    )
    (tmp_path / 'work_dirs/demo').mkdir(parents=True)
    save_checkpoint(weights, 'work_dirs/demo/epoch_8.pth')
    (tmp_path / 'photos').mkdir()
    image = render(0, 3, (60, 80)).image
    for name in ('photo.jpg', 'photos/a.png', 'photos/b.png'):
        Image.fromarray(image).save(name)
    (tmp_path / 'photos/notes.txt').write_text('')
    code = cv2.VideoWriter_fourcc(*'MJPG')
    writer = cv2.VideoWriter('clip.avi', code, 10, (80, 60))
    for _ in range(3):
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    # Without a webcam, the video is one.
    capture = cv2.VideoCapture
    monkeypatch.setattr(
        cv2, 'VideoCapture', lambda at: capture('clip.avi' if at == 0 else at)
    )
    return tmp_path


def test_the_page(place, monkeypatch):
    hub, *_ = (
        shutil.copytree(ROOT / name, place / 'mmprotomtl/.mim' / name)
        for name in ('configs', 'tools')
    )
    shutil.copy(ROOT / 'model-index.yml', hub.parent)
    # The environment may have another checkout installed.
    monkeypatch.setattr(
        'mmengine.hub.hub.get_installed_path', lambda _: str(hub.parents[1])
    )
    monkeypatch.setattr(
        'mmengine.config.config.get_installed_path',
        lambda _: str(hub.parents[1]),
    )
    blocks = BLOCK.findall((ROOT / 'docs/inference.md').read_text())
    names: dict = {}
    for block in blocks:
        if block.startswith('# A config file'):
            (place / 'own.py').write_text(block)
            assert Config.fromfile(place / 'own.py').batch_size == 4
        else:
            exec(compile(block, 'docs/inference.md', 'exec'), names)
    assert (place / 'out/0_photo.png').is_file()
    assert len(names['found']['predictions']) == 2
    assert names['found']['skipped'] == [
        ('photos/notes.txt', 'not named as an image')
    ]
    assert (place / 'maps/depth/2_clip_000002.npy').is_file()
    assert names['number'] == 2
    assert names['infer'].trained_on.datasets == ('SyntheticScenesDataset',)
    assert names['cfg'].model.tasks == names['cfg'].tasks
    assert type(names['model']).__name__ == 'MultiTaskSegmentor'


def test_the_readme(place):
    (block,) = BLOCK.findall((ROOT / 'README.md').read_text())
    names: dict = {}
    exec(compile(block, 'README.md', 'exec'), names)
    assert names['result'].depth.shape == (1, 60, 80)
    assert names['result'].info['depth'].unit == 'metres'
    assert (place / 'out/0_photo.png').is_file()
