import cv2
import numpy as np
import torch
from mmengine.structures import PixelData
from PIL import Image

from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.visualization import MultiTaskLocalVisualizer

TASKS = dict(semseg=dict(num_classes=3, palette=[(9, 8, 7)] * 3), depth={})


def test_labels_are_above_and_colours_are_kept(tmp_path):
    """Red stays red in the file, and labels are not given as predictions."""
    palette = [(200, 0, 0), (0, 0, 200), (0, 90, 0)]
    visualizer = MultiTaskLocalVisualizer(
        tasks=dict(semseg=dict(num_classes=3, palette=palette), depth={})
    )
    sample = MultiTaskDataSample()
    far_above = torch.arange(600.0).reshape(1, 20, 30) + 1
    sample.gt_maps = PixelData(
        semseg=torch.zeros(1, 20, 30), depth=far_above.flip(1)
    )
    sample.pred_maps = PixelData(semseg=torch.ones(1, 20, 30), depth=far_above)
    image = np.zeros((20, 30, 3), np.uint8)
    image[:] = (250, 120, 10)
    for gt, pred in ((True, True), (True, False), (False, True)):
        file = tmp_path / f'{gt}{pred}.png'
        visualizer.add_datasample(
            'x', image, sample, draw_gt=gt, draw_pred=pred, out_file=str(file)
        )
        picture = np.asarray(Image.open(file))
        rows = [picture[n + 18 : n + 38] for n in range(0, len(picture), 38)]
        assert (rows[0][:, :30] == (250, 120, 10)).all()
        colours = [palette[0]] * gt + [palette[1]] * pred
        for row, colour in zip(rows, colours, strict=True):
            assert (row[:, 60:] == colour).all()
            # Near is red, far is blue: a label is near above, a guess below.
            top, low = row[0, 45].astype(int), row[-1, 45].astype(int)
            near, far = (low, top) if colour == palette[0] else (top, low)
            assert near[0] > near[2] and far[2] > far[0]


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
