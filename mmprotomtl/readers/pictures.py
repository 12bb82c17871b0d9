"""Decode image files: photographs, and labels that are stored as images.

The mode and the metadata of an image file decide how its numbers are
interpreted: palette, bit depth, transparency, EXIF orientation. All readers
use the two functions here: :func:`read_rgb` converts photographs to 8-bit RGB,
:func:`read_picture` keeps the stored numbers of labels. Files that cannot be
converted without a guess are refused with the file's name. ICC profiles and
gamma values are ignored.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.files import check_regular

from .files import DataFile, read_npy

#: Formats of photographs, detected by content and not by file name. The list
#: prevents Pillow from starting other decoders, such as Ghostscript.
PHOTO_FORMATS = ('PNG', 'JPEG', 'TIFF', 'BMP', 'WEBP')
#: Formats of labels.
LABEL_FORMATS = ('PNG', 'JPEG', 'TIFF')
#: File name suffixes that :func:`read_rgb` supports.
PHOTO_ENDINGS = ('.png', '.jpg', '.jpeg', '.tif', '.tiff', '.bmp', '.webp')
#: File name suffixes that :func:`read_picture` supports.
LABEL_ENDINGS = ('.png', '.jpg', '.jpeg', '.tif', '.tiff')
#: Larger images are refused before they are decompressed; the largest of
#: common data sets have 2 million pixels.
MAX_PIXELS = 100_000_000
#: EXIF tag of the orientation.
_ORIENTATION = 0x0112
#: TIFF tag of the bits per channel.
_BITS_PER_SAMPLE = 258
_GRAY_16 = ('I;16', 'I;16B', 'I;16L', 'I;16N')


def image_file(path: str | Path) -> DataFile:
    """A photograph, or an image stored as ``.npy``, and how it is read."""
    is_npy = Path(path).suffix.lower() == '.npy'
    return DataFile(str(path), read_npy if is_npy else read_rgb)


def read_rgb(path: str) -> np.ndarray:
    """Read a photograph as RGB.

    The EXIF orientation is applied, like :func:`PIL.ImageOps.exif_transpose`.
    Palettes, grey, CMYK and YCbCr are converted to RGB; of 16 bits the upper 8
    are kept; alpha is dropped.

    Returns:
        uint8 ``H x W x 3``.

    Raises:
        DataFileError: The range of the values is not defined (32 bits or
            floating point), or the image is too large or animated.
    """
    with _opened(path, PHOTO_FORMATS) as picture:
        return as_rgb(picture, path, _bits(picture, path))


def as_rgb(
    picture: Image.Image, path: str = 'PIL image', bits: int = 8
) -> np.ndarray:
    """Convert an open image to RGB as :func:`read_rgb` does.

    Args:
        picture: The image.
        path: Its file, for the error message.
        bits: Bits per channel on disk.

    Returns:
        uint8 ``H x W x 3``, upright.

    Raises:
        DataFileError: The range of the values is not defined.
    """
    if picture.mode in _GRAY_16 or (bits == 16 and picture.mode == 'I'):
        gray = np.asarray(picture).astype(np.uint16) >> 8
        pixels = np.repeat(gray.astype(np.uint8)[..., None], 3, 2)
    elif picture.mode in ('I', 'F', 'LAB', 'HSV'):
        raise DataFileError(
            path,
            f'a photograph of mode {picture.mode!r}; allowed are grey, '
            'colours, palettes and CMYK of up to 16 bits a channel',
        )
    elif picture.mode in ('P', 'PA'):
        # Pillow would warn about transparency in a direct conversion to RGB.
        pixels = np.asarray(picture.convert('RGBA'))[..., :3]
    else:
        pixels = np.asarray(picture.convert('RGB'))
    return upright(pixels, orientation(picture))


def read_picture(
    path: str, shown: bool = False, lossy: bool = False
) -> np.ndarray:
    """Read the numbers of a label that is stored as an image.

    The EXIF orientation is applied.

    Args:
        path: The file.
        shown: Whether to return the displayed grey levels and colours, 0 ..
            255 (0 .. 65535 for 16 bits). Otherwise the stored numbers are
            returned: palette indices, 0 .. 15 for 4 bits, 0 or 1 for one bit.
        lossy: Whether JPEG compression, which changes values, is allowed.

    Returns:
        ``H x W`` or ``H x W x 3``; uint8, uint16, int32 or float32.

    Raises:
        DataFileError: The image has transparent pixels, is JPEG although
            ``lossy`` is False, or has a mode that labels cannot have.
    """
    with _opened(path, LABEL_FORMATS) as picture:
        if not lossy and _is_lossy(picture):
            raise DataFileError(
                path,
                'is compressed by JPEG, which changes the values that were '
                'stored; a label of classes, or a binary one, has to be PNG '
                'or .npy',
            )
        bits = _bits(picture, path)
        mode = picture.mode
        if bits == 16 and mode in ('RGB', 'RGBA', 'LA'):
            numbers, alpha = _deep_channels(picture, path)
        else:
            numbers, alpha = _channels(picture, path, bits)
        _check_opaque(picture, numbers, alpha, path)
        if shown and (mode == '1' or (mode == 'L' and bits < 8)):
            numbers = numbers * np.uint8(255 // (2**bits - 1))
        elif mode in ('P', 'PA'):
            colours = _palette(picture)
            if shown:
                numbers = _painted(numbers, colours, path)
            else:
                _check_indices(numbers, colours, path)
        return upright(numbers, orientation(picture))


def read_share(path: str, lossy: bool = False) -> np.ndarray:
    """Read an image of up to 8 bits per channel, scaled to 0 .. 1.

    Args:
        path: The file.
        lossy: See :func:`read_picture`.

    Returns:
        float32 ``H x W`` or ``H x W x 3``.

    Raises:
        DataFileError: The image has more than 8 bits per channel, or see
            :func:`read_picture`.
    """
    picture = read_picture(path, shown=True, lossy=lossy)
    if picture.dtype != np.uint8:
        raise DataFileError(
            path, f'values of type {picture.dtype}, expected 0 .. 255 (uint8)'
        )
    return picture.astype(np.float32) / 255


#: Minimum length of a stored normal. Shorter vectors are middle grey in the
#: image and have no direction.
SHORTEST_NORMAL = 0.1


def read_normal_picture(path: str) -> np.ndarray:
    """Read normals stored as colours, n = 2 v / 255 - 1.

    Returns:
        float32 ``H x W x 3``; middle grey (127 or 128 in all channels) becomes
        (0, 0, 0) = unknown.
    """
    return drop_short(2 * read_share(path, lossy=True) - 1)


def drop_short(normal: np.ndarray) -> np.ndarray:
    """Set vectors shorter than :data:`SHORTEST_NORMAL` to (0, 0, 0), unknown.

    Args:
        normal: ``H x W x 3``.
    """
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    return np.where(length > SHORTEST_NORMAL, normal, normal.dtype.type(0))


def orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) .. 8; 1 if there is none."""
    try:
        found = picture.getexif().get(_ORIENTATION, 1)
    except Exception:
        # Damaged metadata is ignored, as other programs do.
        return 1
    return found if found in range(1, 9) else 1


def upright(array: np.ndarray, turn: int) -> np.ndarray:
    """Apply an EXIF orientation to an array.

    Args:
        array: ``H x W`` or ``H x W x C``.
        turn: Result of :func:`orientation`.
    """
    if turn in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        array = array[:, ::-1]
    if turn in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def picture_doubts(path: str, label: bool) -> list[str]:
    """Return warnings about the metadata of an image file.

    Args:
        path: An image that can be read without an error.
        label: Whether it is a label and not a photograph.
    """
    doubts = []
    formats = LABEL_FORMATS if label else PHOTO_FORMATS
    with _opened(path, formats) as picture:
        turn = orientation(picture)
        if turn != 1:
            doubts.append(
                f'EXIF orientation {turn} is applied: image and labels must '
                'fit each other after all are turned upright'
            )
        if label:
            if _is_lossy(picture):
                doubts.append('JPEG has changed the values that were stored')
            return doubts
        if _bits(picture, path) > 8:
            doubts.append('more than 8 bits per channel: 8 are used')
        if picture.mode in ('RGBA', 'LA', 'PA') or (
            'transparency' in picture.info
        ):
            doubts.append('transparency is ignored')
        if picture.mode in ('P', 'PA'):
            doubts.append('a palette: no more than 256 colours')
        if picture.mode == 'CMYK':
            doubts.append('CMYK becomes RGB without its colour profile')
    return doubts


@contextmanager
def _opened(path: str, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """Open and decode an image; refuse other formats, animations, large ones.

    Args:
        path: The file.
        formats: Allowed formats, in Pillow's names.
    """
    check_regular(path)
    with _header(path, formats) as picture:
        if picture.width * picture.height >= MAX_PIXELS:
            raise DataFileError(
                path,
                f'{picture.width} x {picture.height} pixels; {MAX_PIXELS} '
                'and more are not read',
            )
        # Additional images in a JPEG (MPO) are previews or other views.
        frames = getattr(picture, 'n_frames', 1)
        if frames > 1 and picture.format != 'MPO':
            raise DataFileError(
                path, f'holds {frames} pictures; expected a single one'
            )
        picture.load()
        yield picture


def _header(path: str, formats: tuple[str, ...]) -> Image.Image:
    """Open an image, which reads its header only."""
    try:
        # Pillow warns at a number of pixels that we allow.
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            return Image.open(path, formats=formats)
    except Image.DecompressionBombError:
        raise DataFileError(
            path, f'{MAX_PIXELS} pixels and more are not read'
        ) from None


def _bits(picture: Image.Image, path: str) -> int:
    """Return the bits per channel; Pillow's mode does not contain them."""
    if picture.format == 'PNG':
        with Path(path).open('rb') as file:
            return file.read(25)[24]
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        return max(picture.tag_v2.get(_BITS_PER_SAMPLE, (1,)))
    return 1 if picture.mode == '1' else 8


def _is_lossy(picture: Image.Image) -> bool:
    if picture.format == 'TIFF':
        return 'jpeg' in str(picture.info.get('compression', '')).lower()
    return picture.format in ('JPEG', 'MPO')


def _channels(
    picture: Image.Image, path: str, bits: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the stored numbers, and alpha 0 .. 255 (None without alpha)."""
    mode = picture.mode
    array = np.asarray(picture)
    if mode == '1':
        return array.astype(np.uint8), None
    if mode == 'L' and bits < 8:
        # Pillow scales 0 .. 15 to 0 .. 255; undo it.
        return array // np.uint8(255 // (2**bits - 1)), None
    if mode in _GRAY_16 or (mode == 'I' and bits == 16):
        return array.astype(np.uint16), None
    if mode in ('L', 'P', 'I', 'F'):
        return array, None
    if mode == 'RGB' and bits == 8:
        return array, None
    if mode in ('LA', 'PA') and bits == 8:
        return array[..., 0], array[..., 1]
    if mode == 'RGBA' and bits == 8:
        return array[..., :3], array[..., 3]
    raise DataFileError(
        path,
        f'a label of mode {mode!r} with {bits} bits per channel; allowed are '
        'grey, RGB and palettes, as PNG with 1 .. 16 bits or as TIFF with 8, '
        '16 (grey) or 32',
    )


def _deep_channels(
    picture: Image.Image, path: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Like :func:`_channels`, for colours of 16 bits (Pillow keeps 8)."""
    array = None
    if picture.format == 'PNG':
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
        array = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16:
        raise DataFileError(
            path,
            f'colours of 16 bits in {picture.format} cannot be read; store '
            'them as PNG or .npy',
        )
    # OpenCV returns BGR.
    numbers = array[..., 2::-1] if array.ndim == 3 else array
    if picture.mode == 'LA' and array.ndim == 3:
        numbers = array[..., 0]
    alpha = None
    if array.ndim == 3 and array.shape[2] in (2, 4):
        alpha = (array[..., -1] // 256).astype(np.uint8)
    return numbers, alpha


def _check_opaque(
    picture: Image.Image,
    numbers: np.ndarray,
    alpha: np.ndarray | None,
    path: str,
) -> None:
    """Refuse a label that has transparent pixels.

    It is ambiguous whether transparent pixels are unlabelled or have the
    stored value. Transparent colours of a palette are allowed, because the
    palette index is not ambiguous.
    """
    clear = np.zeros(numbers.shape[:2], bool)
    if alpha is not None:
        clear = alpha < 255
    key = picture.info.get('transparency')
    if key is not None and picture.mode not in ('P', 'PA'):
        if picture.mode == '1':
            key = int(key) // 255
        same = numbers == np.asarray(key)
        clear |= same.all(-1) if same.ndim == 3 else same
    if clear.any():
        raise DataFileError(
            path,
            f'{int(clear.sum())} transparent pixels; a label must have none: '
            'give unlabelled pixels a value of their own, and set `ignore` to '
            'it in the options of the folder',
        )


def _palette(picture: Image.Image) -> np.ndarray:
    """Return the colours of a palette, uint8 ``N x 3``."""
    mode = picture.palette.mode if picture.palette else 'RGB'
    flat = picture.getpalette(mode) or []
    colours = np.array(flat, np.uint8).reshape(-1, len(mode))
    return colours[:, :3]


def _painted(
    indices: np.ndarray, colours: np.ndarray, path: str
) -> np.ndarray:
    """Convert palette indices to colours.

    Returns:
        ``H x W x 3``; ``H x W`` if all colours are grey.
    """
    if indices.size and indices.max() >= len(colours):
        raise DataFileError(
            path,
            f'palette index {indices.max()}, but the palette has only '
            f'{len(colours)} colours',
        )
    painted = colours[indices]
    gray = (painted == painted[..., :1]).all()
    return painted[..., 0] if gray else painted


def _check_indices(
    indices: np.ndarray, colours: np.ndarray, path: str
) -> None:
    """Refuse a grey palette whose grey levels differ from their indices.

    Programs that compress images convert greyscale to such palettes. Then the
    label may be the index or the grey level. A palette of black and white only
    is allowed; it is read as 0 and 1, like an image of one bit.
    """
    if (colours != colours[:, :1]).any():
        return
    gray = colours[:, 0]
    used = np.unique(indices)
    used = used[used < len(gray)]
    if gray.tolist() == [0, 255] or (gray[used] == used).all():
        return
    wrong = used[gray[used] != used][0]
    raise DataFileError(
        path,
        f'a palette in which index {wrong} is grey {gray[wrong]}: whether the '
        'label is the index or the grey cannot be told; store it as greyscale '
        'PNG or .npy',
    )
