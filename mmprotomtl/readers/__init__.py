"""Read files from disk, with errors that name the file.

:mod:`.pictures` reads photographs and labels stored as images, :mod:`.labels`
(own folders, MTAN, NYUD-v2) and :mod:`.pascal` the label formats of data sets,
:mod:`.matlab` Matlab files, and :mod:`.ids` lists of ids.
"""

from .files import DataFile, check_folder, check_size, map_npy, read_npy
from .ids import plain_name, read_ids
from .labels import (
    read_annotators,
    read_classes,
    read_classes_from_1,
    read_label,
)
from .matlab import mat_variables, read_mat
from .pascal import (
    read_edges,
    read_label_map,
    read_normals,
    read_parts,
    read_saliency,
)
from .people import scan_people
from .pictures import (
    MAX_PIXELS,
    PHOTO_ENDINGS,
    as_rgb,
    image_file,
    picture_doubts,
    read_normal_picture,
    read_picture,
    read_rgb,
    read_share,
)

__all__ = [
    'MAX_PIXELS',
    'PHOTO_ENDINGS',
    'DataFile',
    'as_rgb',
    'check_folder',
    'check_size',
    'image_file',
    'map_npy',
    'mat_variables',
    'picture_doubts',
    'plain_name',
    'read_annotators',
    'read_classes',
    'read_classes_from_1',
    'read_edges',
    'read_ids',
    'read_label',
    'read_label_map',
    'read_mat',
    'read_normal_picture',
    'read_normals',
    'read_npy',
    'read_parts',
    'read_picture',
    'read_rgb',
    'read_saliency',
    'read_share',
    'scan_people',
]
