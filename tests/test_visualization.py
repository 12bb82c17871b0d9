import cv2
import numpy as np
import torch
from mmengine.structures import PixelData
from PIL import Image

from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.tasks import build_tasks
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


def visualizer_of(**kwargs):
    return MultiTaskLocalVisualizer(**kwargs)


class Backend:
    """Keeps what a visualizer's ``add_image`` and ``show`` are given."""

    def __init__(self, visualizer, monkeypatch):
        self.images, self.shown = [], []
        monkeypatch.setattr(
            visualizer, 'add_image', lambda *args: self.images.append(args)
        )
        monkeypatch.setattr(
            visualizer, 'show', lambda *args, **kw: self.shown.append(kw)
        )


def sample_of(**maps):
    sample = MultiTaskDataSample()
    for kind, values in maps.items():
        setattr(sample, kind, PixelData(**values))
    return sample


def test_where_the_picture_goes(monkeypatch, tmp_path):
    visualizer = visualizer_of(tasks=TASKS)
    backend = Backend(visualizer, monkeypatch)
    image = np.zeros((4, 30, 3), np.uint8)
    visualizer.add_datasample('a', image, sample_of())
    visualizer.add_datasample('b', image, sample_of(), step=7)
    assert [(name, step) for name, _, step in backend.images] == [
        ('a', 0), ('b', 7),
    ]  # fmt: skip
    assert backend.shown == []
    visualizer.add_datasample('c', image, sample_of(), show=True, wait_time=2)
    assert backend.shown == [dict(win_name='c', wait_time=2)]
    visualizer.add_datasample(
        'd', image, sample_of(), out_file=str(tmp_path / 'd.png')
    )
    assert len(backend.images) == 3 and (tmp_path / 'd.png').exists()


def test_rows_are_those_that_are_there_and_asked_for(monkeypatch):
    visualizer = visualizer_of(tasks=dict(semseg=dict(num_classes=2)))
    backend = Backend(visualizer, monkeypatch)
    image = np.zeros((10, 40, 3), np.uint8)
    label = dict(semseg=torch.zeros(1, 10, 40))
    both = sample_of(gt_maps=label, pred_maps=label)
    cases = [
        (both, {}, 2),
        (both, dict(draw_gt=False), 1),
        (both, dict(draw_pred=False), 1),
        (both, dict(draw_gt=False, draw_pred=False), 1),
        (sample_of(gt_maps=label), {}, 1),
        (sample_of(pred_maps=label), {}, 1),
        (sample_of(), {}, 1),
    ]
    for sample, asked, rows in cases:
        visualizer.add_datasample('x', image, sample, **asked)
        picture = backend.images[-1][1]
        assert picture.shape == (rows * (10 + 18), 2 * 40, 3), asked
    # Without maps the columns are there, gray; the image keeps its size.
    nothing = backend.images[-1][1]
    assert (nothing[18:, :40] == 0).all() and (nothing[18:, 40:] == 128).all()


def test_titles_and_the_image_once():
    visualizer = visualizer_of(tasks=dict(depth={}))
    maps = dict(depth=np.ones((1, 20, 60), np.float32))
    image = np.full((20, 60, 3), 77, np.uint8)
    picture = visualizer.compose(image, [('label', maps), ('guess', maps)])
    assert picture.shape == (76, 120, 3)
    assert (picture[18:38, :60] == 77).all()
    assert (picture[56:, :60] == 255).all()
    for top in (0, 38):
        for left in (0, 60):
            header = picture[top : top + 18, left : left + 60]
            # Black letters on white, smoothed to grays.
            assert header.min() < 60 and (header[:2] == 255).all()
            assert (header == header[..., :1]).all()
    assert not np.array_equal(picture[:18, :60], picture[38:56, :60])


def test_whose_tasks_are_drawn():
    mine = build_tasks(dict(depth={}))
    own = visualizer_of(tasks=dict(sal={}))
    own.take_tasks(mine)
    assert list(own.tasks) == ['sal']
    other = visualizer_of()
    other.dataset_meta = dict(tasks=dict(normals={}))
    assert list(other.tasks) == ['normals']
    other.take_tasks(mine)
    assert other.tasks == mine


def test_the_image_gets_the_size_of_the_maps(monkeypatch):
    """Whichever row comes first, as the predictions may have another size."""
    visualizer = visualizer_of(tasks=dict(depth={}))
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = 200
    picture = visualizer.compose(
        image, [('x', dict(depth=torch.ones(1, 20, 30)))]
    )
    assert picture.shape == (38, 60, 3)
    assert (picture[18:, :15] == 0).all() and (
        picture[18:, 15:30] == 200
    ).all()
