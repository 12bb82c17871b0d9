"""Normals and class maps of the converters, where it can be on real frames."""

import cv2
import numpy as np

from mmprotomtl.converters.nyuv2 import CAMERA
from mmprotomtl.converters.nyuv2_classes import thirteen_classes
from mmprotomtl.utils.camera import Camera, normals_from_depth


def test_thirteen_classes_of_the_real_frames(shared_data):
    table, seen = thirteen_classes(), set()
    paths = sorted((shared_data / 'nyud_v2/segmentation40').glob('*.png'))
    assert len(paths) == 1449
    for path in paths[::12]:
        forty = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        other = shared_data / 'nyud_v2/segmentation13' / path.name
        thirteen = cv2.imread(str(other), cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(table[forty], thirteen)
        seen.update(np.unique(forty).tolist())
    assert seen == set(range(41))


def test_normals_where_there_is_none():
    depth = np.zeros((40, 50))
    camera = Camera(50, 50, 25, 20)
    assert not normals_from_depth(depth, camera).any()
    depth[20] = 2.0  # one line holds no plane
    assert not normals_from_depth(depth, camera).any()
    depth[20:] = np.linspace(0.5, 40, 50) ** 2  # all neighbours too far
    assert not normals_from_depth(depth, camera).any()


def test_normals_of_a_real_frame(shared_data):
    """Against a published normal map of the same frame, whose axes are x,
    minus z, y.
    """
    root = shared_data / 'real_frames'
    depth = cv2.imread(str(root / 'depth_gt_000433.png'), cv2.IMREAD_UNCHANGED)
    published = cv2.imread(str(root / 'norm_gt_000433.png'))[..., ::-1]
    published = (published / 127.5 - 1)[..., (0, 2, 1)] * (1, -1, 1)
    length = np.linalg.norm(published, axis=-1, keepdims=True)
    published, known = published / length, length[..., 0] > 0.9
    normal = normals_from_depth(depth / 5000, CAMERA)
    known &= normal.any(-1)
    cosine = (normal * published).sum(-1)[known].clip(-1, 1)
    assert known.mean() > 0.6
    assert np.degrees(np.arccos(np.median(cosine))) < 2.5
