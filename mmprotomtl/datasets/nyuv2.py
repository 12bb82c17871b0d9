"""NYU-v2 in the layout of MTAN: 13 classes, 3 tasks."""

import json
from pathlib import Path
from typing import ClassVar

from mmprotomtl.readers import read_classes, read_npy
from mmprotomtl.registry import DATASETS
from mmprotomtl.utils.camera import Camera
from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.files import RECORD

from .mtan_dataset import MTANDataset

#: Intrinsics of the colour camera of NYU-Depth V2, onto which depth is
#: projected. The official principal point counts pixels from 1, so 1 is
#: subtracted.
CAMERA = Camera(
    fx=518.85790117450188,
    fy=519.46961112127485,
    cx=325.58244941119034 - 1,
    cy=253.73616633400465 - 1,
    size=(480, 640),
)

CLASSES = (
    'bed',
    'books',
    'ceiling',
    'chair',
    'floor',
    'furniture',
    'objects',
    'picture',
    'sofa',
    'table',
    'tv',
    'wall',
    'window',
)


class NYUCamera:
    """Mixin for data sets of frames of NYU-Depth V2: their camera.

    It is that of the whole frame, unless ``data_root`` has the record of our
    converter, which says what it cut off.
    """

    data_root: str
    camera: Camera | None

    def has_camera(self) -> bool:
        """Yes, it is published."""
        return True

    def camera_of(self, sample_id: str) -> Camera | None:
        """The camera of the frames; one that a config gives goes before it.

        Raises:
            DataFileError: The record of the conversion is damaged.
        """
        del sample_id
        if self.camera is None:
            self.camera = _recorded_camera(Path(self.data_root, RECORD))
        return self.camera


def _recorded_camera(record: Path) -> Camera:
    """The camera of frames that were cut as a record says, if there is one."""
    if not record.is_file():
        return CAMERA
    try:
        crop = json.loads(record.read_text())['crop']
        return CAMERA if crop is None else CAMERA.cropped(*crop)
    except (ValueError, KeyError, TypeError) as error:
        raise DataFileError(
            str(record),
            f'not a record of a conversion of NYU-Depth V2, or '
            f'damaged ({type(error).__name__}: {error})',
        ) from error


@DATASETS.register_module()
class NYUv2Dataset(NYUCamera, MTANDataset):
    """NYU-v2 as MTAN published it; all partial-label papers use this form.

    Files are ``data_root/{train,val}/{image,label,depth,normal}/{i}.npy``,
    795 and 654 samples of 288 x 384 pixels. Images are ``H x W x 3`` in
    0 .. 1, labels -1 .. 12 (-1 = unlabelled), depth is ``H x W x 1`` in metres
    (0 = unknown), normals are unit vectors ``H x W x 3`` ((0, 0, 0) =
    unknown). ``val`` is the official test set. Row i of a published label mask
    belongs to ``{i}.npy``.
    """

    METAINFO: ClassVar[dict] = dict(
        tasks=dict(
            semseg=dict(num_classes=13, classes=CLASSES),
            depth=dict(unit='metres', draw_range=(0.5, 8.0)),
            normals=dict(),
        )
    )
    USUAL_SIZE: ClassVar[tuple[int, int] | None] = (288, 384)
    PUBLISHED: ClassVar[dict] = dict(train=795, val=654)
    FOLDERS: ClassVar[dict] = dict(
        semseg=('label', read_classes),
        depth=('depth', read_npy),
        normals=('normal', read_npy),
    )
