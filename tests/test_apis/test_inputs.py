"""What the inferencer takes: each form of one image gives the same pixels."""

import http.server
import threading
from typing import ClassVar

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmprotomtl.apis.inputs import Inputs, is_endless
from mmprotomtl.scenes.renderer import render

RGB = render(0, 3, (40, 60)).image


def pixels(given, **kwargs):
    return [photo.pixels for photo in Inputs(given, **kwargs)]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'photo.png'
    Image.fromarray(RGB).save(path)
    return path


@pytest.fixture
def server(tmp_path):
    """Serves the folder, without writing to the terminal."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Quiet) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{running.server_address[1]}'
        running.shutdown()


def test_every_form_of_one_image(photo, server):
    channels = RGB.transpose(2, 0, 1).copy()
    with Image.open(photo) as opened:
        opened.load()
    forms = {
        'path': str(photo),
        'Path': photo,
        'URL': f'{server}/photo.png',
        'BGR array': RGB[..., ::-1],
        'BGR of cv2': cv2.imread(str(photo)),
        'BGR floats': RGB[..., ::-1] / 255,
        'PIL': Image.fromarray(RGB),
        'PIL of a file': opened,
        'PIL with alpha': Image.fromarray(RGB).convert('RGBA'),
        'tensor': torch.from_numpy(channels[::-1].copy()),
        'tensor of floats': torch.from_numpy(channels[::-1] / 255).float(),
        'glob': str(photo.parent / 'pho*.png'),
        'folder': photo.parent,
        'list': [photo],
        'generator': (RGB[..., ::-1] for _ in range(1)),
        'batch': RGB[None, ..., ::-1],
    }
    for name, form in forms.items():
        (found,) = pixels(form)
        assert np.array_equal(found, RGB), name
    for form in (RGB, torch.from_numpy(channels), [RGB]):
        (found,) = pixels(form, channel_order='rgb')
        assert np.array_equal(found, RGB)
    # The order of a file is known, whatever that of arrays is.
    for order in ('rgb', 'bgr'):
        assert np.array_equal(pixels(photo, channel_order=order)[0], RGB)
    with pytest.raises(ValueError, match="channel_order='BGR'"):
        Inputs(RGB, 'BGR')


def test_a_folder_with_other_files(photo):
    folder = photo.parent
    (folder / 'notes.txt').write_text('not an image')
    (folder / 'broken.jpg').write_text('not an image')
    (folder / 'inside').mkdir()
    np.save(folder / 'z.npy', RGB[:10])
    inputs = Inputs(str(folder))
    found = [p.name for p in inputs]
    assert found == ['photo', 'z']
    skipped = dict(inputs.skipped)
    assert {p.rsplit('/', 1)[1] for p in skipped} == {
        'notes.txt', 'broken.jpg', 'inside',
    }  # fmt: skip
    assert 'cannot be read' in skipped[str(folder / 'broken.jpg')]
    # A file that is named itself is not passed over.
    with pytest.raises(ValueError, match=r'broken\.jpg: cannot be read'):
        list(Inputs(folder / 'broken.jpg'))
    for empty in (folder / 'inside', str(folder / '*.gif')):
        with pytest.raises(ValueError, match='no image in it'):
            list(Inputs(empty))


@pytest.mark.parametrize(
    ('given', 'error', 'told'),
    [
        (True, TypeError, 'type bool'),
        (dict(a=1), TypeError, 'type dict.*glob'),
        (None, TypeError, 'type NoneType'),
        ('none.png', ValueError, 'none.png: no such file'),
        ('none.mp4', ValueError, 'none.mp4: no such file'),
        ('ftp://host/a.png', ValueError, "'ftp' is not allowed: choose"),
        ('http://127.0.0.1:9/a.png', ValueError, 'cannot be fetched'),
        (torch.zeros(40, 60, 3), ValueError, r'tensor: shape \(40, 60, 3\)'),
        (Image.new('F', (4, 4)), ValueError, "mode 'F'"),
    ],
)
def test_what_is_refused(given, error, told):
    with pytest.raises(error, match=told):
        list(Inputs(given))


def test_a_missing_url(server):
    with pytest.raises(
        ValueError, match=r'/none\.png: cannot be fetched .*404'
    ):
        list(Inputs(f'{server}/none.png'))


def write_video(path, levels):
    """Frames of one grey level each."""
    code = cv2.VideoWriter_fourcc(*'MJPG')
    writer = cv2.VideoWriter(str(path), code, 10, (64, 48))
    for level in levels:
        writer.write(np.full((48, 64, 3), (level, 0, 255 - level), np.uint8))
    writer.release()


def test_a_video_is_read_frame_by_frame(tmp_path):
    levels = [10, 60, 110, 160, 210]
    write_video(tmp_path / 'clip.avi', levels)
    inputs = Inputs(tmp_path / 'clip.avi')
    reading = iter(inputs)
    first = next(reading)
    assert inputs.frames == 5
    photos = [first, *reading]
    assert [p.name for p in photos] == [f'clip_{n:06d}' for n in range(5)]
    for photo, level in zip(photos, levels, strict=True):
        # Written as BGR: blue is the level. JPEG changes a little.
        assert np.allclose(
            photo.pixels.mean((0, 1)), (255 - level, 0, level), atol=4
        )
    (tmp_path / 'broken.mp4').write_text('no video')
    with pytest.raises(ValueError, match=r'broken\.mp4: cannot be read as a'):
        list(Inputs(tmp_path / 'broken.mp4'))


class Camera:
    """In place of cv2.VideoCapture: an endless webcam."""

    opened: ClassVar[list] = []

    def __init__(self, source):
        self.source, self.read_frames, self.released = source, 0, False
        Camera.opened.append(self)

    def isOpened(self):
        return self.source == 0

    def get(self, _):
        return -1.0

    def read(self):
        self.read_frames += 1
        return True, np.full((40, 60, 3), (self.read_frames, 2, 3), np.uint8)

    def release(self):
        self.released = True


def test_a_webcam(monkeypatch):
    monkeypatch.setattr(cv2, 'VideoCapture', Camera)
    Camera.opened = []
    assert is_endless(0) and is_endless([0]) and is_endless('rtsp://a/b')
    assert not is_endless('0') and not is_endless(True)
    inputs = Inputs(0)
    reading = iter(inputs)
    photos = [next(reading) for _ in range(3)]
    assert [p.pixels[0, 0].tolist() for p in photos] == [
        [3, 2, 1], [3, 2, 2], [3, 2, 3],
    ]  # fmt: skip
    # Nothing is read ahead, and the device is given back.
    assert Camera.opened[0].read_frames == 3
    reading.close()
    assert Camera.opened[0].released
    with pytest.raises(ValueError, match='webcam1: no webcam of this index'):
        next(iter(Inputs(1)))


def test_a_large_photo_is_reduced():
    large = np.zeros((300, 400, 3), np.uint8)
    large[:150] = 200
    (photo,) = Inputs(large, max_side=40)
    assert photo.pixels.shape == (30, 40, 3) and photo.shape == (300, 400)
    assert (photo.pixels[:15] == 200).all() and not photo.pixels[15:].any()
