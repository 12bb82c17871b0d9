"""What is where on a sheet, in which colours."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from PIL import Image

from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.tasks import build_tasks
from mmprotomtl.utils.drawing import LINE, heat_map, swatches, text_width
from mmprotomtl.visualization import MultiTaskLocalVisualizer
from mmprotomtl.visualization.sheet import GAP, SPACE, grid, resized

PALETTE = [(200, 0, 0), (0, 0, 200), (0, 90, 0)]
TASKS = dict(semseg=dict(num_classes=3, palette=PALETTE), depth={})
H, W = 20, 30
#: Maps of 30 pixels are drawn six times as large, 180 pixels wide.
CELL = (120, 180)


def visualizer_of(tasks=TASKS, **kwargs):
    return MultiTaskLocalVisualizer(tasks=tasks, **kwargs)


def sample_of(**maps):
    sample = MultiTaskDataSample()
    for kind, values in maps.items():
        setattr(sample, kind, PixelData(**values))
    return sample


def ones(value=1.0):
    return torch.full((1, H, W), float(value))


def photo_of(colour=(250, 120, 10), size=(H, W)):
    image = np.zeros((*size, 3), np.uint8)
    image[:] = colour
    return image


def cut(picture, place):
    top, left, height, width = place
    return picture[top : top + height, left : left + width]


def expected_places(names, captions, columns, cell=CELL):
    """Where cells of a single line of blocks are, by arithmetic."""
    height, width = cell
    return {
        (name, caption): (
            GAP + 2 * LINE + row * (height + SPACE + LINE),
            GAP + number * (width + GAP), height, width,
        )
        for number, name in enumerate(names[:columns])
        for row, caption in enumerate(captions)
    }  # fmt: skip


def test_each_cell_is_where_its_caption_says():
    maps = [
        ('label', dict(semseg=ones(0), depth=ones(2))),
        ('prediction', dict(semseg=ones(1), depth=ones(2))),
    ]
    sheet = visualizer_of().sheet(photo_of(), maps, 'room 1')
    found = expected_places(
        ['photo', 'depth', 'semseg'], ['label', 'prediction'], 3
    )
    del found['photo', 'prediction']
    found['photo', 'room 1'] = found.pop(('photo', 'label'))
    assert sheet.places == found
    picture = sheet.picture
    for key, colour in (
        (('photo', 'room 1'), (250, 120, 10)),
        (('semseg', 'label'), PALETTE[0]),
        (('semseg', 'prediction'), PALETTE[1]),
    ):
        assert (cut(picture, found[key]) == colour).all(), key
    # Nothing but white and the letters around the cells; below the photo
    # there is nothing at all.
    outside = np.ones(picture.shape[:2], bool)
    for place in found.values():
        cut(outside, place)[:] = False
    keys = GAP + LINE + 2 * (LINE + CELL[0] + SPACE)
    above = outside[:keys]
    letters = picture[:keys][above]
    assert (letters == letters[:, :1]).all() and (letters == 255).mean() > 0.9
    assert (cut(picture, found['photo', 'room 1'])[0] != 255).any()
    below = GAP + 2 * LINE + CELL[0]
    assert (picture[below:, : GAP + CELL[1]] == 255).all()
    # Each cell has its own words above it: a title and a caption.
    for (_, caption), (top, left, _, width) in found.items():
        words = picture[top - LINE : top, left : left + width]
        assert words.min() < 90, caption
        # A line of text is as long as its letters are.
        dark = np.flatnonzero((words < 128).any((0, 2)))
        assert abs(np.ptp(dark) - text_width(caption)) < 5, caption


def test_sheets_wrap():
    tasks = {f'd{i}': dict(type='depth') for i in range(5)}
    maps = [('prediction', {name: ones() for name in tasks})]
    for columns, width, expected in (
        (None, 1600, 6), (None, 800, 3), (2, 1600, 2), (9, 1600, 6),
    ):  # fmt: skip
        sheet = visualizer_of(
            tasks, columns=columns, max_width=width, legends=False
        ).sheet(photo_of(), maps)
        lefts = {place[1] for place in sheet.places.values()}
        assert len(lefts) == expected
        tops = {place[0] for place in sheet.places.values()}
        assert len(tops) == -(-6 // expected)
        assert sheet.picture.shape[1] == GAP + expected * (180 + GAP) <= width
        line = 2 * LINE + 120 + SPACE + GAP
        assert sorted(tops) == [
            GAP + 2 * LINE + i * line for i in range(len(tops))
        ]
        assert sheet.picture.shape[0] == GAP + len(tops) * line
    # As many cells as do not fit at their size become smaller.
    sheet = visualizer_of(tasks, columns=6, max_width=610).sheet(
        photo_of(), maps
    )
    assert {place[3] for place in sheet.places.values()} == {90}
    assert sheet.picture.shape[1] == 610


@pytest.mark.parametrize(
    ('count', 'natural', 'columns', 'width', 'expected'),
    [
        (7, 128, None, 1600, (4, 256)),  # two lines, 4 and 3, not 6 and 1
        (7, 4000, None, 1600, (3, 420)),
        (7, 4000, 1, 1600, (1, 1580)),
        (2, 640, None, 300, (1, 280)),
        (1, 1, None, 1600, (1, 180)),
    ],
)
def test_columns_and_width_of_cells(count, natural, columns, width, expected):
    assert grid(count, natural, columns, width) == expected


def test_a_task_without_a_label_says_so():
    sample = sample_of(
        gt_maps=dict(semseg=ones(0)),
        pred_maps=dict(semseg=ones(1), depth=ones(3)),
    )
    rows = [('label', sample.gt_maps), ('prediction', sample.pred_maps)]
    sheet = visualizer_of().sheet(photo_of(), rows)
    cell = cut(sheet.picture, sheet.places['depth', 'label'])
    assert (cell[:40] == 128).all() and (cell[-40:] == 128).all()
    # White words in the middle.
    words = np.flatnonzero((cell[40:-40] > 200).any((0, 2)))
    assert abs(words.mean() - CELL[1] / 2) < 8
    assert abs(np.ptp(words) - text_width('no label')) < 5
    named = cut(sheet.picture, sheet.places['semseg', 'label'])
    assert (named == PALETTE[0]).all()


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


def test_where_the_picture_goes(monkeypatch, tmp_path):
    visualizer = visualizer_of()
    backend = Backend(visualizer, monkeypatch)
    image = photo_of()
    visualizer.add_datasample('a', image, sample_of())
    # Backends make no folders.
    visualizer.add_datasample('val/town/b', image, sample_of(), step=7)
    assert [(name, step) for name, _, step in backend.images] == [
        ('a', 0), ('val_town_b', 7),
    ]  # fmt: skip
    assert backend.shown == []
    visualizer.add_datasample('c', image, sample_of(), show=True, wait_time=2)
    assert backend.shown == [dict(win_name='c', wait_time=2)]
    visualizer.add_datasample(
        'd', image, sample_of(), out_file=str(tmp_path / 'd.png')
    )
    assert len(backend.images) == 3
    # RGB in memory is RGB in the file.
    stored = np.asarray(Image.open(tmp_path / 'd.png'))
    assert (stored == (250, 120, 10)).all(-1).sum() == CELL[0] * CELL[1]


def test_rows_are_those_that_are_there_and_asked_for(monkeypatch):
    visualizer = visualizer_of(dict(semseg=dict(num_classes=2)), legends=False)
    backend = Backend(visualizer, monkeypatch)
    label = dict(semseg=ones(0))
    both = sample_of(gt_maps=label, pred_maps=label)
    for sample, asked, rows in (
        (both, {}, 2),
        (both, dict(draw_gt=False), 1),
        (both, dict(draw_pred=False), 1),
        (sample_of(gt_maps=label), {}, 1),
        (sample_of(pred_maps=label), {}, 1),
    ):
        visualizer.add_datasample('x', photo_of(), sample, **asked)
        height = 2 * GAP + LINE + rows * (LINE + CELL[0] + SPACE)
        assert backend.images[-1][1].shape == (height, 390, 3), asked
    # Without maps there is the photo.
    for sample, asked in (
        (sample_of(), {}), (both, dict(draw_gt=False, draw_pred=False)),
    ):  # fmt: skip
        visualizer.add_datasample('x', photo_of(), sample, **asked)
        assert backend.images[-1][1].shape[1] == 2 * GAP + CELL[1]


def test_whose_tasks_are_drawn():
    mine = build_tasks(dict(depth={}))
    own = visualizer_of(dict(sal={}))
    own.take_tasks(mine)
    assert list(own.tasks) == ['sal']
    other = MultiTaskLocalVisualizer()
    other.dataset_meta = dict(tasks=dict(normals={}))
    assert list(other.tasks) == ['normals']
    other.take_tasks(mine)
    assert other.tasks == mine


def test_the_image_gets_the_size_of_the_maps():
    image = photo_of((0, 0, 0), (40, 60))
    image[:, 30:] = 200
    sheet = visualizer_of(dict(depth={})).sheet(
        image, [('x', dict(depth=ones()))], 'a'
    )
    cell = cut(sheet.picture, sheet.places['photo', 'a'])
    assert (cell[:, :90] == 0).all() and (cell[:, 90:] == 200).all()


@pytest.mark.parametrize(
    ('settings', 'key'),
    [
        (dict(columns=0), 'columns'),
        (dict(max_width=30), 'max_width'),
        (dict(columns=10, max_width=399), 'max_width'),
        (dict(overlay=1.5), 'overlay'),
        (dict(overlay=dict(semseg=-1)), 'overlay'),
        (dict(overlay=dict(semseq=0.5)), 'overlay'),
        (dict(errors=['depht']), 'errors'),
    ],
)
def test_settings_that_are_refused(settings, key):
    with pytest.raises(ValueError, match=rf'visualizer\.{key}'):
        visualizer_of(**settings)
    # Also where the tasks come later.
    if not {'columns', 'max_width'} & set(settings):
        with pytest.raises(ValueError, match=rf'visualizer\.{key}'):
            MultiTaskLocalVisualizer(**settings).take_tasks(build_tasks(TASKS))


def test_overlays():
    tasks = dict(TASKS, edge={}, human_parts={}, normals={})
    maps = dict(
        semseg=ones(1), depth=ones(2), edge=ones(0), human_parts=ones(0),
        normals=torch.zeros(3, H, W),
    )  # fmt: skip
    rows = [('prediction', maps)]
    photo = photo_of((100, 40, 20))
    plain = visualizer_of(tasks).sheet(photo, rows)
    for overlay in (0.25, dict(semseg=0.25, depth=0.25)):
        found = visualizer_of(tasks, overlay=overlay).sheet(photo, rows)
        for name in tasks:
            place = found.places[name, 'prediction']
            drawn = cut(plain.picture, place).astype(float)
            laid = {'semseg', 'depth'} & set(overlay) if isinstance(
                overlay, dict
            ) else {'semseg', 'edge', 'human_parts'}  # fmt: skip
            if name in laid:
                drawn = 0.25 * drawn + 0.75 * np.array([100, 40, 20])
            assert np.abs(cut(found.picture, place) - drawn).max() <= 0.5, name


def inferno(share):
    value = np.array([[round(share * 255)]], np.uint8)
    return cv2.applyColorMap(value, cv2.COLORMAP_INFERNO)[0, 0, ::-1]


def angle(degrees):
    turn = np.radians(degrees)
    return torch.tensor([np.sin(turn), 0, -np.cos(turn)]).float()


def halves(left, right):
    """A map of two values, ``L x H x W``."""
    left, right = (torch.as_tensor(v, dtype=torch.float32).reshape(-1, 1, 1)
                   for v in (left, right))  # fmt: skip
    return torch.cat([left.expand(-1, H, 15), right.expand(-1, H, 15)], 2)


def test_errors():
    """Left of each map an error of half the largest, right the largest."""
    tasks = dict(TASKS, normals={}, sal={}, edge={})
    label = dict(
        semseg=halves(0, 1), depth=halves(2, 4), normals=halves(
            angle(0), angle(10)
        ), sal=halves(0, 1), edge=halves(255, 1),
    )  # fmt: skip
    pred = dict(
        semseg=halves(0, 2), depth=halves(3, 2), normals=halves(
            angle(20), angle(50)
        ), sal=halves(0.25, 0.5), edge=halves(0.3, 0.75),
    )  # fmt: skip
    shares = dict(semseg=0, depth=0.5, normals=0.5, sal=0.5, edge=None)
    rows = [('label', label), ('prediction', pred)]
    sheet = visualizer_of(tasks, errors=True).sheet(photo_of(), rows)
    for name, share in shares.items():
        cell = cut(sheet.picture, sheet.places[name, 'error'])
        left = (128,) * 3 if share is None else inferno(share)
        assert np.abs(cell[:, :90].astype(int) - left).max() <= 6, name
        assert (cell[:, 90:] == inferno(1)).all(), name
    some = visualizer_of(tasks, errors=['depth']).sheet(photo_of(), rows)
    assert [n for n, c in some.places if c == 'error'] == ['depth']
    # Without a label there is no error to show.
    rows = [('label', dict(sal=label['sal'])), ('prediction', pred)]
    sheet = visualizer_of(tasks, errors=['depth']).sheet(photo_of(), rows)
    cell = cut(sheet.picture, sheet.places['depth', 'error'])
    assert (cell[:40] == 128).all() and (cell[40:-40] > 200).any()


def test_a_depth_of_unknown_range_has_one_scale():
    """Label and prediction are drawn, and the bar is, from the least to the
    largest value of both.
    """
    label, pred = halves(1, 2), halves(2, 5)
    sheet = visualizer_of(dict(depth={})).sheet(
        photo_of(), [('label', dict(depth=label)),
                     ('prediction', dict(depth=pred))],
    )  # fmt: skip
    top = cut(sheet.picture, sheet.places['depth', 'label'])
    low = cut(sheet.picture, sheet.places['depth', 'prediction'])
    assert (top[0, -1] == low[0, 0]).all()  # both are 2 metres
    _, left, height, width = sheet.places['depth', 'prediction']
    bar = sheet.picture[sheet.places['depth', 'prediction'][0] + height + 10]
    assert (bar[left] == top[0, 0]).all()
    assert (bar[left + width - 1] == low[0, -1]).all()


def squares(key):
    """Colours of a key's squares, from left to right and from above."""
    flat = key.reshape(-1, 3)
    found, counts = np.unique(flat, axis=0, return_counts=True)
    return {
        tuple(map(int, colour))
        for colour, count in zip(found, counts, strict=True)
        if count >= 81 and len(set(colour.tolist())) > 1
    }


def test_classes_in_the_picture_are_in_the_key():
    task = build_tasks(TASKS)['semseg']
    values = [halves(0, 2).numpy(), halves(0, 0).numpy()]
    assert squares(task.legend(values, 200)) == {PALETTE[0], PALETTE[2]}
    with_none = task.legend([halves(1, 255).numpy()], 200)
    assert squares(with_none) == {PALETTE[1], (224, 224, 192)}
    # Names that do not fit next to each other go on in the next line.
    names = [(colour, 'a long name') for colour in PALETTE]
    assert swatches(names, 400).shape == (LINE, 400, 3)
    assert swatches(names, 100).shape == (3 * LINE, 100, 3)
    assert squares(swatches(names, 100)) == set(PALETTE)


def test_the_key_of_normals_shows_where_surfaces_face():
    task = build_tasks(dict(normals={}))['normals']
    key = task.legend([np.ones((3, 2, 2), np.float32)], 180)
    assert key.shape == (61 + 2 * LINE, 180, 3)
    middle = (LINE + 30, 90)

    def colour(x, y, z):
        return np.round((np.array([x, y, z]) + 1) * 127.5)

    for offset, normal in (
        ((0, 0), (0, 0, -1)), ((0, 24), (0.8, 0, -0.6)),
        ((0, -24), (-0.8, 0, -0.6)), ((24, 0), (0, 0.8, -0.6)),
        ((-24, 0), (0, -0.8, -0.6)),
    ):  # fmt: skip
        pixel = key[middle[0] + offset[0], middle[1] - 1 + offset[1]]
        assert np.abs(pixel - colour(*normal)).max() < 6, offset
    unknown = task.legend([np.zeros((3, 2, 2), np.float32)], 180)
    assert len(unknown) == len(key) + LINE


def test_a_task_of_ones_own_has_a_key():
    """Made of its own colours, by the kind of its values."""
    (base,) = build_tasks(dict(d=dict(type='depth'))).values()

    class Own(type(base)):
        legend = type(base).__mro__[2].legend

        def draw(self, value):
            gray = (value[0] * 10).clip(0, 255).astype(np.uint8)
            return np.stack([gray, gray, gray // 2], 2)

    own = Own(name='own')
    # A bar from the least to the largest value.
    key = own.legend([halves(5, 20).numpy()], 150)
    assert key.shape == (30, 150, 3)
    assert tuple(key[8, 0]) == (50, 50, 25)
    assert tuple(key[8, -1]) == (200, 200, 100)
    # And the pixels without a value.
    assert len(own.legend([halves(0, 20).numpy()], 150)) == 30 + LINE
    own.label_kind = 'class'
    key = own.legend([halves(5, 20).numpy()], 150)
    assert squares(key) == {(50, 50, 25), (200, 200, 100)}
    # Several values at a pixel have no key; nor has nothing.
    assert len(own.legend([np.ones((3, 2, 2))], 150)) == 0
    assert own.error(halves(1, 2).numpy(), np.ones((2, H, W))) is None
    wrong = own.error(halves(1, 2).numpy(), halves(1, 1).numpy())
    assert (wrong[:, :15] == 0).all() and (wrong[:, 15:] == 1).all()


def test_the_heat_map():
    values = np.array([[1.0, 0.0], [0.25, 0.75]])
    picture = heat_map(values, ['a', 'b'], ['a', 'slot 1'], 'title')
    left, top = 8 + 6 + text_width('b'), 8 + 2 * LINE + 4
    for row in range(2):
        for column in range(2):
            pixel = picture[top + 34 * row + 2, left + 64 * column + 2]
            share = values[row, column]
            expected = (1 - share) * 255 + share * np.array([8, 48, 107])
            assert np.abs(pixel - expected).max() <= 1, (row, column)
    # Columns are as wide as the longest name.
    long = heat_map(values, ['a', 'b'], ['a', 'human_parts'], 'x')
    side = text_width('human_parts') + 8
    assert side > 64 and long.shape[1] == left + 2 * side + 8


def test_shrinking_takes_means_and_enlarging_repeats():
    stripes = photo_of((0, 0, 0), (20, 60))
    stripes[:, ::2] = 200
    assert (resized(stripes, 10, 30) == 100).all()
    assert (resized(stripes, 40, 120)[:, 4:6] == 200).all()
