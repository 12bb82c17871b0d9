"""Where two data sets may differ in a task, the first one's word counts."""

import numpy as np
import pytest
from PIL import Image

from mmprotomtl.registry import DATASETS

FIRST = ((1, 2, 3), (4, 5, 6))
SECOND = ((7, 8, 9), (10, 11, 12))


def folder(root, palette, names=None):
    for name in ('images', 'masks'):
        (root / name).mkdir(parents=True)
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(root / 'images/0.png')
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(root / 'masks/0.png')
    semseg = dict(num_classes=2, palette=palette)
    if names is not None:
        semseg['classes'] = names
    return dict(
        type='ImageFolderMTDataset',
        data_root=str(root),
        folders=dict(semseg='masks'),
        tasks=dict(semseg=semseg),
        pipeline=[],
    )


@pytest.mark.parametrize('turned', [False, True])
def test_the_first_data_set_decides(tmp_path, turned):
    parts = [
        folder(tmp_path / 'a', FIRST),
        folder(tmp_path / 'b', SECOND, ('wall', 'floor')),
    ]
    expected = FIRST
    if turned:
        parts.reverse()
        expected = SECOND
    data = DATASETS.build(dict(type='MultiTaskConcatDataset', datasets=parts))
    task = data.tasks['semseg']
    assert np.array_equal(task.palette, expected)
    args = data.metainfo['tasks']['semseg']
    assert np.array_equal(args['palette'], expected)
    # What only one of them says counts, wherever it stands.
    assert tuple(args['classes']) == ('wall', 'floor')
    assert np.array_equal(
        task.draw(np.array([[[0, 1]]], np.uint8)), [expected]
    )
