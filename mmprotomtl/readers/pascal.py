"""Read the labels of PASCAL-Context."""

from typing import Any

import cv2
import numpy as np

from mmprotomtl.boundary.thin import thin
from mmprotomtl.utils.errors import DataFileError

from .files import DataFile, check_size
from .matlab import read_mat
from .pictures import read_normal_picture, read_rgb, read_share

#: PASCAL-Part's number of the class `person`.
PERSON = 15
#: Name of a part of a person in PASCAL-Part, without the prefix `l` or `r`
#: (left, right) -> class (1 head, 2 torso, 3 upper arm, 4 lower arm, 5 upper
#: leg, 6 lower leg).
PARTS = {
    **dict.fromkeys(
        ('head', 'hair', 'ear', 'eye', 'ebrow', 'mouth', 'nose'), 1
    ),
    **dict.fromkeys(('torso', 'neck'), 2),
    'uarm': 3,
    **dict.fromkeys(('larm', 'hand'), 4),
    'uleg': 5,
    **dict.fromkeys(('lleg', 'foot'), 6),
}
#: Parts that have no left and right, so their names have no prefix.
MIDDLE = ('head', 'hair', 'mouth', 'nose', 'torso', 'neck')
#: Classes of ``LabelMap`` (out of 459) on which normals are valid: those that
#: also exist in NYUD-v2, on which the network that predicted the normals was
#: trained, without `unknown`; and `tvmonitor` (427).
NORMALS_CLASSES = (
    3, 4, 6, 9, 10, 11, 13, 15, 17, 18, 22, 23, 29, 30, 33, 34, 36, 37, 38,
    39, 41, 43, 46, 49, 50, 51, 53, 55, 56, 59, 61, 62, 65, 66, 68, 69, 72,
    73, 78, 83, 84, 85, 87, 88, 95, 96, 101, 104, 105, 107, 111, 113, 115,
    122, 124, 135, 141, 142, 143, 146, 150, 154, 157, 158, 159, 165, 172,
    174, 181, 183, 184, 191, 193, 195, 197, 199, 202, 213, 215, 216, 219,
    220, 223, 225, 228, 230, 232, 233, 238, 239, 242, 243, 246, 250, 251,
    252, 255, 260, 261, 263, 269, 272, 273, 275, 281, 283, 284, 285, 286,
    287, 288, 290, 291, 292, 293, 295, 304, 307, 309, 310, 314, 315, 319,
    323, 329, 330, 331, 336, 342, 345, 349, 350, 351, 352, 355, 357, 368,
    370, 371, 374, 379, 380, 383, 384, 397, 401, 403, 405, 407, 408, 411,
    412, 413, 414, 417, 419, 421, 423, 427, 429, 430, 432, 440, 441, 442,
    443, 444, 446, 454, 457,
)  # fmt: skip


def part_number(name: str) -> int:
    """Return the class 1 .. 6 of a part of PASCAL-Part, see :data:`PARTS`.

    Raises:
        KeyError: PASCAL-Part has no such part of a person.
    """
    if name in MIDDLE:
        return PARTS[name]
    if name[:1] not in ('l', 'r') or name[1:] in MIDDLE:
        raise KeyError(name)
    return PARTS[name[1:]]


def read_label_map(path: str) -> np.ndarray:
    """Read PASCAL-Context's ``LabelMap``.

    Returns:
        Classes 0 .. 459, int32 ``H x W``.

    Raises:
        DataFileError: The file has no valid ``LabelMap``.
    """
    label = read_mat(path, 'LabelMap')
    if label.ndim != 2 or not label.size or label.dtype.kind not in 'uif':
        raise DataFileError(
            path,
            f'LabelMap has shape {label.shape} and type {label.dtype}, '
            'expected H x W class numbers',
        )
    wrong = ~((label >= 0) & (label <= 459)) | (label != np.floor(label))
    if wrong.any():
        found = np.unique(label[wrong])[:8].tolist()
        raise DataFileError(
            path, f'LabelMap has {found}; allowed are classes 0 .. 459'
        )
    return label.astype(np.int32)


def read_edges(path: str) -> np.ndarray:
    """Read the edges between the classes of a ``LabelMap``.

    Edges are the pixels at which the Laplacian of the map is not 0, thinned
    to lines one pixel wide.

    Returns:
        0 or 1, uint8 ``H x W``.
    """
    label = read_label_map(path).astype(np.float64)
    return thin(cv2.Laplacian(label, cv2.CV_64F) != 0).astype(np.uint8)


def read_normals(path: str, label_map: str) -> np.ndarray:
    """Read normals; pixels whose class has no valid normal are unknown.

    Args:
        path: The image of normals.
        label_map: File with the ``LabelMap`` of the image.

    Returns:
        float32 ``H x W x 3``, (0, 0, 0) = unknown.

    Raises:
        DataFileError: A file is invalid, or their aspect ratios differ.
    """
    normal = read_normal_picture(path)
    # Read as a DataFile, so that an error names the label map.
    classes = DataFile(label_map, read_label_map).load()
    check_size(classes, normal.shape[:2], label_map)
    if normal.shape[:2] != classes.shape:
        classes = cv2.resize(
            classes, normal.shape[1::-1], interpolation=cv2.INTER_NEAREST
        )
    known = np.isin(classes, NORMALS_CLASSES)
    return np.where(known[..., None], normal, np.float32(0))


def read_saliency(path: str) -> np.ndarray:
    """Read saliency: 1 where the stored value is above 0.5, else 0.

    Returns:
        uint8 ``H x W``.
    """
    return (read_share(path) > 0.5).astype(np.uint8)


def read_parts(path: str, image: str) -> np.ndarray:
    """Read the body parts of the people in an image.

    Args:
        path: File of PASCAL-Part.
        image: The photograph; its size is used if the file has no object.

    Returns:
        Classes 0 (none) .. 6, uint8 ``H x W``.

    Raises:
        DataFileError: The file is not an annotation of PASCAL-Part.
    """
    anno = read_mat(path, 'anno')
    try:
        objects = anno['objects'][0, 0].ravel()
        label = None
        for thing in objects:
            if label is None:
                label = np.zeros(thing['mask'].shape, np.uint8)
            if int(thing['class_ind'].item()) == PERSON:
                _paint(label, thing['parts'].ravel())
    except KeyError as error:
        raise DataFileError(
            path, f'{error} is not a part of a person in PASCAL-Part'
        ) from error
    except Exception as error:
        raise DataFileError(
            path,
            'no annotation of PASCAL-Part: expected anno.objects with mask, '
            'class_ind and parts (part_name, mask) '
            f'({type(error).__name__}: {error})',
        ) from error
    if label is None:
        label = np.zeros(DataFile(image, read_rgb).load().shape[:2], np.uint8)
    return label


def _paint(label: np.ndarray, parts: Any) -> None:
    for part in parts:
        mask = part['mask']
        if mask.shape != label.shape:
            raise ValueError(f'a mask is {mask.shape}, not {label.shape}')
        label[mask > 0] = part_number(str(part['part_name'].item()))
