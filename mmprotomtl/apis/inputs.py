"""What can be given to the inferencer, read one image at a time."""

import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import cv2
import numpy as np
from PIL import Image
from torch import Tensor

from mmprotomtl.datasets.transforms.loading import load_image
from mmprotomtl.readers import PHOTO_ENDINGS, as_rgb, image_file
from mmprotomtl.utils.errors import DataFileError, check_choice
from mmprotomtl.utils.files import check_regular

#: Endings of files that are read as images.
IMAGE_ENDINGS = (*PHOTO_ENDINGS, '.npy')
#: Endings of files that are read as videos.
VIDEO_ENDINGS = ('.mp4', '.m4v', '.avi', '.mov', '.mkv', '.webm', '.mpg',
                 '.mpeg', '.wmv')  # fmt: skip
#: Largest image that is fetched from a URL, in bytes.
MAX_FETCHED = 100_000_000
#: Seconds that a server may be silent.
TIMEOUT = 30
ALLOWED = (
    'a path, URL, folder or glob pattern, an array H x W x 3, a tensor '
    '3 x H x W, a PIL image, a video, the index of a webcam, or several of '
    'them'
)


class Photo(NamedTuple):
    """An image in memory, in place of a file.

    Attributes:
        pixels: RGB, uint8 ``H x W x 3``, upright; reduced if it was larger
            than allowed.
        path: Where it comes from.
        name: The name of its output files.
        shape: Height and width before it was reduced.
    """

    pixels: np.ndarray
    path: str
    name: str
    shape: tuple[int, int]

    def load(self) -> np.ndarray:
        """The pixels, as data sets hand images to a pipeline."""
        return self.pixels


class _Array(NamedTuple):
    """An array that was given, for the reader of images."""

    pixels: np.ndarray
    path: str

    def load(self) -> np.ndarray:
        return self.pixels


class Inputs:
    """Reads the images of what a user gave, one at a time.

    Args:
        given: See :data:`ALLOWED`. Files of a folder or a pattern that are no
            images are skipped; a file that is named itself is not.
        channel_order: ``bgr`` or ``rgb``, that of arrays and tensors. Files
            (``.npy`` too), PIL images and videos know their own.
        max_side: Longer side in pixels above which an image is reduced.

    Attributes:
        skipped: Path and reason of each file of a folder that was skipped.
        frames: About how many frames the video that is being read has, as its
            header says; 0: not known.

    Raises:
        ValueError: ``channel_order`` is not allowed.
    """

    def __init__(
        self, given: Any, channel_order: str = 'bgr', max_side: int = 1280
    ) -> None:
        check_choice('channel_order', channel_order, ('bgr', 'rgb'))
        self.given = given
        self.channel_order = channel_order
        self.max_side = max_side
        self.skipped: list[tuple[str, str]] = []
        self.frames = 0

    def __iter__(self) -> Iterator[Photo]:
        """Read the images.

        Raises:
            DataFileError: A file that is named cannot be read, or an array is
                no image.
            ValueError: A folder or a pattern has no image, or a webcam gives
                none.
            TypeError: What was given is none of what is allowed.
        """
        return self._read(self.given)

    def _read(self, item: Any) -> Iterator[Photo]:
        if isinstance(item, (str, Path)):
            yield from self._read_path(str(item))
        elif isinstance(item, (int, np.integer)) and not isinstance(
            item, bool
        ):
            yield from self._read_video(int(item), f'webcam{item}')
        elif isinstance(item, Image.Image):
            path = getattr(item, 'filename', '') or 'PIL image'
            name = Path(path).stem
            yield self._photo(_Array(as_rgb(item, path), path), name)
        elif isinstance(item, (np.ndarray, Tensor)):
            yield from self._read_array(item)
        elif isinstance(item, Iterable) and not isinstance(
            item, (Mapping, bytes)
        ):
            for part in item:
                yield from self._read(part)
        else:
            raise TypeError(
                f'an input of type {type(item).__name__} is not allowed: give '
                f'{ALLOWED}'
            )

    def _photo(self, file: Any, name: str, order: str = 'rgb') -> Photo:
        pixels = load_image(file)
        if order == 'bgr':
            pixels = pixels[..., ::-1]
        height, width = pixels.shape[:2]
        return Photo(
            np.ascontiguousarray(reduced(pixels, self.max_side)),
            file.path,
            name,
            (height, width),
        )

    def _read_array(self, item: np.ndarray | Tensor) -> Iterator[Photo]:
        if item.ndim == 4:
            for part in item:
                yield from self._read_array(part)
            return
        kind = 'array'
        if isinstance(item, Tensor):
            kind = 'tensor'
            if item.ndim != 3 or item.shape[0] != 3:
                raise DataFileError(
                    kind, f'shape {tuple(item.shape)}; an image is 3 x H x W'
                )
            item = item.detach().cpu().float() if (
                item.is_floating_point()
            ) else item.detach().cpu()  # fmt: skip
            item = item.permute(1, 2, 0).numpy()
        yield self._photo(_Array(item, kind), kind, self.channel_order)

    def _read_path(self, text: str) -> Iterator[Photo]:
        if '://' in text:
            yield from self._read_url(text)
            return
        path = Path(text)
        if path.is_dir():
            yield from self._read_several(sorted(path.iterdir()), text)
        elif any(sign in text for sign in '*?[') and not path.exists():
            root = Path(path.anchor)
            found = sorted(root.glob(str(path.relative_to(root))))
            yield from self._read_several(found, text)
        elif path.suffix.lower() in VIDEO_ENDINGS:
            yield from self._read_video(text, path.stem)
        else:
            yield self._photo(image_file(path), path.stem)

    def _read_several(self, files: list[Path], where: str) -> Iterator[Photo]:
        """Read the images among files, and note the others."""
        count = 0
        for file in files:
            if file.suffix.lower() not in IMAGE_ENDINGS:
                what = 'a folder' if file.is_dir() else 'not named as an image'
                self.skipped.append((str(file), what))
                continue
            try:
                photo = self._photo(image_file(file), file.stem)
            except DataFileError as error:
                self.skipped.append((str(file), error.problem))
                continue
            count += 1
            yield photo
        if not count:
            skipped = [path for path, _ in self.skipped[:3]]
            raise ValueError(
                f'{where}: no image in it ({len(files)} files'
                f'{", " if skipped else ""}{", ".join(skipped)}); images end '
                f'with {", ".join(IMAGE_ENDINGS)}'
            )

    def _read_url(self, url: str) -> Iterator[Photo]:
        place = PurePosixPath(urlsplit(url).path)
        scheme = urlsplit(url).scheme.lower()
        if place.suffix.lower() in VIDEO_ENDINGS or scheme == 'rtsp':
            yield from self._read_video(url, place.stem or 'video')
            return
        check_choice(f'{url}: the scheme', scheme, ('http', 'https'))
        with tempfile.NamedTemporaryFile(suffix=place.suffix) as file:
            file.write(_fetch(url))
            file.flush()
            try:
                photo = self._photo(image_file(file.name), place.stem or 'url')
            except DataFileError as error:
                raise DataFileError(url, error.problem) from None
        yield photo._replace(path=url)

    def _read_video(self, source: str | int, name: str) -> Iterator[Photo]:
        """Read frames one by one; no more than one is held."""
        if isinstance(source, str) and '://' not in source:
            try:
                check_regular(source)
            except FileNotFoundError:
                raise DataFileError(source, 'no such file') from None
        capture = cv2.VideoCapture(source)
        try:
            if not capture.isOpened():
                raise DataFileError(
                    name if isinstance(source, int) else source,
                    'no webcam of this index can be opened'
                    if isinstance(source, int)
                    else 'cannot be read as a video',
                )
            self.frames = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
            number = 0
            while True:
                done, frame = capture.read()
                if not done:
                    break
                held = _Array(frame, str(source))
                yield self._photo(held, f'{name}_{number:06d}', 'bgr')
                number += 1
            if not number:
                raise DataFileError(str(source), 'has no frame')
        finally:
            self.frames = 0
            capture.release()


def reduced(pixels: np.ndarray, max_side: int) -> np.ndarray:
    """Reduce an image whose longer side is above ``max_side`` pixels to it."""
    height, width = pixels.shape[:2]
    factor = max_side / max(height, width)
    if factor >= 1:
        return pixels
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    return cv2.resize(
        np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA
    )


def is_endless(given: Any) -> bool:
    """Whether an input is a webcam or a stream, which do not end."""
    if isinstance(given, (list, tuple)):
        return any(is_endless(item) for item in given)
    is_number = isinstance(given, (int, np.integer))
    stream = isinstance(given, str) and given.lower().startswith('rtsp://')
    return (is_number and not isinstance(given, bool)) or stream


def _fetch(url: str) -> bytes:
    """The content of a URL."""
    request = urllib.request.Request(url, headers={'User-Agent': 'mmprotomtl'})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            content: bytes = answer.read(MAX_FETCHED + 1)
    except (urllib.error.URLError, OSError) as error:
        raise DataFileError(url, f'cannot be fetched ({error})') from None
    if len(content) > MAX_FETCHED:
        raise DataFileError(
            url, f'more than {MAX_FETCHED} bytes, which are not read'
        )
    return content
