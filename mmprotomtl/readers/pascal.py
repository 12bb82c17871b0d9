"""How the labels of PASCAL-Context are stored, and read."""

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
#: Part of a person, without `l` or `r` for its side -> body part (1 head, 2
#: torso, 3 upper arm, 4 lower arm, 5 upper leg, 6 lower leg).
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
#: Parts of which a person has one; of the others there are two.
MIDDLE = ('head', 'hair', 'mouth', 'nose', 'torso', 'neck')
#: The 459 classes of ``LabelMap`` whose pixels carry a normal: those that
#: NYUD-v2, on which the network that drew the normals was trained, has too,
#: without `unknown`, and `tvmonitor` (427).
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
    """The body part, 1 .. 6, that a part of PASCAL-Part belongs to.

    Raises:
        KeyError: People have no such part.
    """
    if name in MIDDLE:
        return PARTS[name]
    if name[:1] not in ('l', 'r') or name[1:] in MIDDLE:
        raise KeyError(name)
    return PARTS[name[1:]]


def read_label_map(path: str) -> np.ndarray:
    """PASCAL-Context's ``LabelMap``: classes 1 .. 459, ``H x W``.

    Raises:
        DataFileError: It is missing or no such map.
    """
    label = read_mat(path, 'LabelMap')
    if label.ndim != 2 or not label.size or label.dtype.kind not in 'uif':
        raise DataFileError(
            path,
            f'LabelMap is {label.shape} of {label.dtype}, expected H x W '
            'numbers of classes',
        )
    wrong = ~((label >= 0) & (label <= 459)) | (label != np.floor(label))
    if wrong.any():
        found = np.unique(label[wrong])[:8].tolist()
        raise DataFileError(
            path, f'LabelMap has {found}; allowed are classes 0 .. 459'
        )
    return label.astype(np.int32)


def read_edges(path: str) -> np.ndarray:
    """Edges between the classes of a ``LabelMap``: where its Laplacian is
    not 0, thinned to a line; 0 or 1.
    """
    label = read_label_map(path).astype(np.float64)
    return thin(cv2.Laplacian(label, cv2.CV_64F) != 0).astype(np.uint8)


def read_normals(path: str, label_map: str) -> np.ndarray:
    """Normals, where the class at ``label_map`` carries any."""
    normal = read_normal_picture(path)
    # As a file of its own: it is the one that an error has to name.
    classes = DataFile(label_map, read_label_map).load()
    check_size(classes, normal.shape[:2], label_map)
    if normal.shape[:2] != classes.shape:
        classes = cv2.resize(
            classes, normal.shape[1::-1], interpolation=cv2.INTER_NEAREST
        )
    known = np.isin(classes, NORMALS_CLASSES)
    return np.where(known[..., None], normal, np.float32(0))


def read_saliency(path: str) -> np.ndarray:
    """1 where the stored share is above a half."""
    return (read_share(path) > 0.5).astype(np.uint8)


def read_parts(path: str, image: str) -> np.ndarray:
    """Body parts of the people in an image.

    Args:
        path: PASCAL-Part's file.
        image: The photograph, for the size of a label without any object.

    Returns:
        0 .. 6, ``H x W``.

    Raises:
        DataFileError: It has not the form of PASCAL-Part.
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
