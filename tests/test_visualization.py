import cv2
import numpy as np
import torch
from mmengine.structures import PixelData

from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.visualization import MultiTaskLocalVisualizer

TASKS = dict(semseg=dict(num_classes=3, palette=[(9, 8, 7)] * 3), depth={})


def test_picture_shows_labels_and_predictions(tmp_path):
    sample = MultiTaskDataSample()
    sample.gt_maps = PixelData(semseg=torch.zeros(1, 20, 30))
    sample.pred_maps = PixelData(
        semseg=torch.ones(1, 20, 30),
        depth=torch.arange(600.0).reshape(1, 20, 30) + 1,
    )
    visualizer = MultiTaskLocalVisualizer(tasks=TASKS)
    image = np.full((40, 60, 3), 200, np.uint8)
    file = tmp_path / 'a' / 'x.png'
    visualizer.add_datasample('x', image, sample, out_file=str(file))
    picture = cv2.imread(str(file))[..., ::-1]
    # Two rows (label, prediction) below headers, three columns.
    assert picture.shape == (2 * (20 + 18), 3 * 30, 3)
    top, low = picture[18:38], picture[56:76]
    assert (top[:, :30] == 200).all()
    assert (top[:, 30:60] == 128).all()  # no label of depth
    assert (top[:, 60:] == (9, 8, 7)).all()
    assert len(np.unique(low[:, 30:60].reshape(-1, 3), axis=0)) > 50
    assert (low[:, 60:] == (9, 8, 7)).all()
