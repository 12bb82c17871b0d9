"""What the numbers of a picture mean, by its mode and its metadata."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from mmprotomtl.readers import (
    pictures,
    read_normal_picture,
    read_picture,
    read_rgb,
    read_share,
)
from mmprotomtl.readers.pictures import picture_doubts
from mmprotomtl.utils.errors import DataFileError

H, W = 5, 7
RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (H, W)).astype(np.uint8)
COLOURS = RNG.integers(0, 256, (H, W, 3)).astype(np.uint8)
CLASSES = (np.arange(H * W) % 5).reshape(H, W).astype(np.uint8)
BITS = (CLASSES > 2).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (H, W)).astype(np.uint16)
DEEP_COLOURS = RNG.integers(0, 65536, (H, W, 3)).astype(np.uint16)
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128]
SOLID = np.full((H, W), 255, np.uint8)
HOLE = SOLID.copy()
HOLE[2, 3] = 0


def pil(kind, array, palette=None, mode=None, **options):
    picture = Image.fromarray(array)
    if palette:
        picture.putpalette(palette)
    if mode:
        picture = picture.convert(mode)
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def cv(ending, array):
    if array.ndim == 3:
        array = np.concatenate([array[..., 2::-1], array[..., 3:]], -1)
    return cv2.imencode(ending, array)[1].tobytes()


def low_bits(array, bits):
    """A greyscale PNG of 2 or 4 bits, which Pillow cannot write."""
    import struct
    import zlib

    rows = b''
    for row in array:
        text = ''.join(f'{v:0{bits}b}' for v in row)
        text += '0' * (-len(text) % 8)
        rows += b'\0' + int(text, 2).to_bytes(len(text) // 8, 'big')

    def chunk(name, data):
        crc = zlib.crc32(name + data)
        return (
            struct.pack('>I', len(data)) + name + data + struct.pack('>I', crc)
        )

    head = struct.pack('>IIBBBBB', W, H, bits, 0, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', head)
        + chunk(b'IDAT', zlib.compress(rows))
        + chunk(b'IEND', b'')
    )


def one_bit(array):
    return pil('PNG', array * np.uint8(255), mode='1')


def ramp(*greys):
    return [value for grey in greys for value in (grey,) * 3]


ALPHA = np.dstack([COLOURS, SOLID])
#: What the file is -> its bytes, the stored numbers and what it shows; a text
#: instead: why it is refused.
LABELS = {
    '1 bit': (one_bit(BITS), BITS, BITS * 255),
    '2 bits': (low_bits(CLASSES % 4, 2), CLASSES % 4, CLASSES % 4 * 85),
    '4 bits': (low_bits(CLASSES, 4), CLASSES, CLASSES * 17),
    '8 bits': (pil('PNG', GRAY), GRAY, GRAY),
    '16 bits': (pil('PNG', DEEP), DEEP, DEEP),
    'palette of colours': (
        pil('PNG', CLASSES, VOC),
        CLASSES,
        np.array(VOC).reshape(-1, 3)[CLASSES],
    ),
    'palette of 2 bits': (
        pil('PNG', CLASSES % 4, VOC, bits=2),
        CLASSES % 4,
        np.array(VOC).reshape(-1, 3)[CLASSES % 4],
    ),
    'palette, index 0 transparent': (
        pil('PNG', CLASSES, VOC, transparency=0),
        CLASSES,
        np.array(VOC).reshape(-1, 3)[CLASSES],
    ),
    'palette of black and white': (
        pil('PNG', BITS, ramp(0, 255)),
        BITS,
        BITS * 255,
    ),
    'palette of other greys': (
        pil('PNG', CLASSES, ramp(0, 7, 9, 200, 255)),
        'index 1 is grey 7',
        np.array([0, 7, 9, 200, 255])[CLASSES],
    ),
    'RGB': (pil('PNG', COLOURS), COLOURS, COLOURS),
    'RGB of 16 bits': (cv('.png', DEEP_COLOURS), DEEP_COLOURS, DEEP_COLOURS),
    'RGBA, opaque': (pil('PNG', ALPHA), COLOURS, COLOURS),
    'RGBA with a hole': (
        pil('PNG', np.dstack([COLOURS, HOLE])),
        '1 transparent pixels',
        '1 transparent pixels',
    ),
    'RGBA of 16 bits': (
        cv('.png', np.dstack([DEEP_COLOURS, SOLID.astype(np.uint16) * 257])),
        DEEP_COLOURS,
        DEEP_COLOURS,
    ),
    'RGBA of 16 bits with a hole': (
        cv('.png', np.dstack([DEEP_COLOURS, HOLE.astype(np.uint16) * 257])),
        '1 transparent pixels',
        '1 transparent pixels',
    ),
    'grey and alpha': (pil('PNG', np.dstack([GRAY, SOLID])), GRAY, GRAY),
    'grey and alpha with a hole': (
        pil('PNG', np.dstack([GRAY, HOLE])),
        'transparent pixels',
        'transparent pixels',
    ),
    'grey with a transparent value': (
        pil('PNG', CLASSES, transparency=3),
        '7 transparent pixels',
        '7 transparent pixels',
    ),
    'floating point': (
        pil('TIFF', GRAY.astype(np.float32) / 7),
        GRAY.astype(np.float32) / 7,
        GRAY.astype(np.float32) / 7,
    ),
    '32 bits': (
        pil('TIFF', DEEP.astype(np.int32) * 9),
        DEEP.astype(np.int32) * 9,
        DEEP.astype(np.int32) * 9,
    ),
    '16 bits in TIFF': (pil('TIFF', DEEP), DEEP, DEEP),
    'RGB of 16 bits in TIFF': (
        cv('.tiff', DEEP_COLOURS), 'colours of 16 bits', 'colours of 16 bits',
    ),
    'JPEG': (pil('JPEG', GRAY), 'JPEG', 'JPEG'),
    'JPEG in TIFF': (
        pil('TIFF', COLOURS, compression='jpeg'), 'JPEG', 'JPEG',
    ),
    'CMYK': (pil('TIFF', COLOURS, mode='CMYK'), "mode 'CMYK'", "mode 'CMYK'"),
    'several pictures': (
        pil('TIFF', GRAY, save_all=True,
            append_images=[Image.fromarray(GRAY)]),
        'holds 2 pictures', 'holds 2 pictures',
    ),
    'BMP': (pil('BMP', GRAY), 'UnidentifiedImage', 'UnidentifiedImage'),
    'PostScript': (pil('EPS', GRAY), 'UnidentifiedImage', 'UnidentifiedImage'),
}  # fmt: skip


def assert_read(read, path, expected):
    if isinstance(expected, str):
        with pytest.raises((DataFileError, OSError)) as caught:
            read(str(path))
        text = f'{type(caught.value).__name__}: {caught.value}'
        assert expected in text and str(path) in text
        return
    found = read(str(path))
    assert found.dtype.kind in 'uif' and found.dtype != bool
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)


@pytest.mark.parametrize('kind', LABELS)
def test_labels_keep_their_numbers(tmp_path, kind):
    data, stored, shown = LABELS[kind]
    path = tmp_path / 'a.png'
    path.write_bytes(data)
    assert_read(read_picture, path, stored)
    assert_read(lambda p: read_picture(p, shown=True), path, shown)
    eight = isinstance(shown, np.ndarray) and shown.max() < 256
    if eight and shown.dtype != np.float32:
        assert_read(read_share, path, shown.astype(np.float32) / 255)


def test_lossy_pictures_of_what_is_measured(tmp_path):
    path = tmp_path / 'a.jpg'
    normal = np.broadcast_to((229, 128, 26), (H, W, 3)).astype(np.uint8)
    path.write_bytes(pil('JPEG', normal, quality=95))
    found = read_normal_picture(str(path))
    assert np.allclose(found, (0.8, 0, -0.8), atol=0.03)
    assert np.allclose(read_picture(str(path), lossy=True), normal, atol=4)


#: The same for photographs, which become 8-bit RGB.
PHOTOS = {
    '1 bit': (one_bit(BITS), BITS * 255),
    '4 bits': (low_bits(CLASSES, 4), CLASSES * 17),
    'grey': (pil('PNG', GRAY), GRAY),
    '16 bits': (pil('PNG', DEEP), DEEP >> 8),
    'palette': (
        pil('PNG', CLASSES, VOC), np.array(VOC).reshape(-1, 3)[CLASSES],
    ),
    'palette with transparency': (
        pil('PNG', CLASSES, VOC, transparency=bytes([9, 255])),
        np.array(VOC).reshape(-1, 3)[CLASSES],
    ),
    'RGBA': (pil('PNG', np.dstack([COLOURS, HOLE])), COLOURS),
    'grey and alpha': (pil('PNG', np.dstack([GRAY, HOLE])), GRAY),
    'RGB of 16 bits': (cv('.png', DEEP_COLOURS), DEEP_COLOURS >> 8),
    'BMP': (pil('BMP', COLOURS), COLOURS),
    'WEBP': (pil('WEBP', COLOURS, lossless=True), COLOURS),
    'floating point': (pil('TIFF', GRAY / np.float32(7)), "mode 'F'"),
    '32 bits': (pil('TIFF', DEEP.astype(np.int32)), "mode 'I'"),
    'PostScript': (pil('EPS', COLOURS), 'UnidentifiedImage'),
}  # fmt: skip


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('kind', PHOTOS)
def test_photographs_become_rgb(tmp_path, kind):
    data, expected = PHOTOS[kind]
    path = tmp_path / 'a.png'
    path.write_bytes(data)
    if isinstance(expected, np.ndarray) and expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, 2)
    assert_read(read_rgb, path, expected)


def test_cmyk_photographs(tmp_path):
    """Red is red, and not what the inverted inks of JPEG would give."""
    path = tmp_path / 'a.jpg'
    red = np.broadcast_to(np.array([250, 5, 5], np.uint8), (16, 16, 3))
    path.write_bytes(pil('JPEG', red, mode='CMYK', quality=95))
    assert np.allclose(read_rgb(str(path)), red, atol=12)
    assert any('CMYK' in doubt for doubt in picture_doubts(str(path), False))


@pytest.mark.parametrize('turn', range(1, 9))
@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'TIFF'])
def test_pictures_are_upright(tmp_path, turn, kind):
    path = tmp_path / f'a.{kind}'
    exif = Image.Exif()
    exif[0x0112] = turn
    smooth = cv2.resize(COLOURS, (40, 24), interpolation=cv2.INTER_LINEAR)
    path.write_bytes(pil(kind, smooth, exif=exif))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert (expected.shape[0] > expected.shape[1]) == (turn > 4)
    assert np.array_equal(read_rgb(str(path)), expected)
    assert np.array_equal(read_picture(str(path), lossy=True), expected)
    for label in (True, False):
        doubts = picture_doubts(str(path), label)
        assert any('orientation' in d for d in doubts) == (
            turn != 1 and kind != 'TIFF'
        )


def test_colours_of_16_bits_are_upright(tmp_path):
    path = tmp_path / 'a.png'
    small = (DEEP_COLOURS >> 8).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    tag = pil('PNG', small, exif=exif)
    start = tag.index(b'eXIf') - 4
    end = start + 12 + int.from_bytes(tag[start : start + 4], 'big')
    data = cv('.png', DEEP_COLOURS)
    path.write_bytes(data[:33] + tag[start:end] + data[33:])
    found = read_picture(str(path))
    assert np.array_equal(found, np.rot90(DEEP_COLOURS, -1))


def test_metadata_that_cannot_be_read_turns_nothing(tmp_path):
    path = tmp_path / 'a.jpg'
    path.write_bytes(pil('JPEG', GRAY, exif=b'Exif\0\0MM\0*\xff\xff'))
    assert read_rgb(str(path)).shape == (H, W, 3)


@pytest.mark.parametrize(('more', 'fits'), [(0, True), (1, False)])
def test_the_greatest_number_of_pixels(tmp_path, monkeypatch, more, fits):
    monkeypatch.setattr(pictures, 'MAX_PIXELS', H * W + 1 - more)
    path = tmp_path / 'a.png'
    path.write_bytes(pil('PNG', GRAY))
    for read in (read_picture, read_rgb):
        if fits:
            assert read(str(path)).shape[:2] == (H, W)
        else:
            with pytest.raises(DataFileError, match=f'{W} x {H} pixels'):
                read(str(path))


def test_doubts_of_photographs(tmp_path):
    path = tmp_path / 'a.png'
    for data, doubt in (
        (pil('PNG', DEEP), 'more than 8 bits'),
        (pil('PNG', np.dstack([COLOURS, HOLE])), 'transparency'),
        (pil('PNG', COLOURS), None),
    ):
        path.write_bytes(data)
        found = picture_doubts(str(path), False)
        assert [doubt in text for text in found] == [True] * bool(doubt)
    path.write_bytes(pil('JPEG', COLOURS))
    assert picture_doubts(str(path), False) == []
    assert 'JPEG' in picture_doubts(str(path), True)[0]
