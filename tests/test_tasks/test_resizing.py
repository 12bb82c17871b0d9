"""Resizing labels in which pixels are unknown."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmprotomtl.converters.output import resize
from mmprotomtl.datasets.transforms import (
    MultiTaskRandomRotate,
    MultiTaskRandomScale,
    MultiTaskRandomScaleCrop,
    MultiTaskResize,
)
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.tasks import build_tasks
from mmprotomtl.tasks.base import resize_known
from mmprotomtl.tasks.normals import unit_vectors
from mmprotomtl.testing import TASKS, tiny_model

WAYS = {
    name: getattr(cv2, f'INTER_{name}')
    for name in (
        'NEAREST', 'NEAREST_EXACT', 'LINEAR', 'LINEAR_EXACT', 'CUBIC', 'AREA',
        'LANCZOS4',
    )
}  # fmt: skip
SIZE = (24, 36)
SIZES = ((48, 72), (31, 50), (9, 13), (24, 35), (77, 91))
RNG = np.random.default_rng(0)
HOLES = {
    'scattered': RNG.random(SIZE) < 0.3,
    'a block': (np.mgrid[:24, :36] // 7 % 2).any(0),
    'a column': np.arange(36)[None] + np.zeros(SIZE, int) == 17,
}


def smooth_normals(size):
    """A surface that bends by half a degree from pixel to pixel of SIZE."""
    y, x = ((np.arange(n) + 0.5) / n for n in size)
    a = np.radians(18 * (x[None] - 0.5))
    b = np.radians(12 * (y[:, None] - 0.5))
    vector = np.stack(np.broadcast_arrays(np.sin(a), np.sin(b), -1.5), -1)
    return unit_vectors(vector)


def label_of(task, hole):
    """A label of a task, with unknown pixels."""
    if task.name == 'normals':
        label = smooth_normals(SIZE)
    elif task.name == 'depth':
        label = np.full(SIZE, 5, np.float32)
    else:
        label = RNG.integers(0, 2, SIZE).astype(np.uint8)
    label = label.copy()
    label[hole] = task.invalid
    return label


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('hole', HOLES)
@pytest.mark.parametrize('name', TASKS)
def test_no_value_comes_from_an_unknown_pixel(name, hole, way):
    task = build_tasks(TASKS)[name]
    label = label_of(task, HOLES[hole])
    for size in SIZES:
        found = task.resize_label(label, size, WAYS[way])
        assert found.shape == (*size, *label.shape[2:])
        assert found.dtype == label.dtype
        if name == 'normals':
            known = (found != 0).any(-1)
            truth = smooth_normals(size)
            cos = (found * truth).sum(-1)[known].clip(-1, 1)
            assert np.degrees(np.arccos(cos)).max() < (
                1 if size[0] > 20 else 4
            )
            assert np.allclose(np.linalg.norm(found[known], axis=-1), 1)
        elif name == 'depth':
            known = found != 0
            assert np.allclose(found[known], 5, atol=1e-5)
        else:
            known = found != 255
            assert set(np.unique(found[known])) <= {0, 1}
        # As much is known as before, where no column can be stepped over.
        assert known.any()
        if size[0] > 20:
            assert abs(known.mean() - (1 - HOLES[hole].mean())) < 0.03
            assert not known.all() or (size == (24, 35) and 'col' in hole)


def test_interpolation_away_from_unknown_pixels_is_opencv_s():
    task = build_tasks(dict(depth={}))['depth']
    label = RNG.uniform(1, 9, SIZE).astype(np.float32)
    whole = cv2.resize(label, (72, 48), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(
        task.resize_label(label, (48, 72), cv2.INTER_CUBIC), whole
    )
    label[10, 10] = 0
    found = task.resize_label(label, (48, 72), cv2.INTER_CUBIC)
    same = found == whole
    rows, cols = np.nonzero(~same)
    # Four pixels of a cubic kernel to either side, twice as large.
    assert rows.min() >= 20 - 4 and rows.max() <= 21 + 4
    assert cols.min() >= 20 - 4 and cols.max() <= 21 + 4
    assert (found == 0).sum() == 4


def test_unknown_may_be_nan():
    values = np.full(SIZE, 3.0, np.float32)
    values[HOLES['scattered']] = np.nan
    found = resize_known(values, (48, 72), cv2.INTER_CUBIC, np.nan)
    known = np.isfinite(found)
    assert 0.6 < known.mean() < 0.8
    assert np.allclose(found[known], 3)


@pytest.mark.parametrize(
    'step',
    [
        MultiTaskResize(scale=(50, 33)),
        MultiTaskRandomScale((1.3, 1.3)),
        MultiTaskRandomScaleCrop((1.5,)),
        MultiTaskRandomRotate(prob=1.0, degree=(25, 25)),
    ],
)
def test_steps_of_a_pipeline(step, monkeypatch):
    """A task that is resized smoothly keeps its values all the same."""
    tasks = build_tasks(dict(depth={}, normals={}))
    hole = HOLES['a block']
    normal = np.array([0.6, 0, -0.8], np.float32)
    vectors = np.broadcast_to(normal, (*SIZE, 3)) * ~hole[..., None]
    for task in tasks.values():
        monkeypatch.setattr(type(task), 'interpolation', cv2.INTER_CUBIC)
    results = step(
        dict(
            img=np.zeros((*SIZE, 3), np.uint8),
            tasks=tasks,
            gt_maps=dict(
                depth=np.where(hole, 0, 6).astype(np.float32),
                normals=vectors.astype(np.float32),
            ),
        )
    )
    depth, found = results['gt_maps']['depth'], results['gt_maps']['normals']
    zoom = {1.3, 1.5} & {*getattr(step, 'scales', ())} or {
        getattr(step, 'ratio_range', (1,))[0]
    }
    known = depth > 0
    assert known.any() and not known.all()
    assert np.allclose(depth[known], 6 / zoom.pop(), atol=1e-5)
    turned = normal
    if isinstance(step, MultiTaskRandomRotate):
        cos, sin = np.cos(np.radians(25)), np.sin(np.radians(25))
        turned = np.array([0.6 * cos, 0.6 * sin, -0.8])
    seen = (found != 0).any(-1)
    assert np.array_equal(seen, known)
    assert np.allclose(found[seen], turned, atol=1e-3)


def test_labels_at_the_network_s_size(monkeypatch):
    """`test_cfg.size='network'` brings labels to the predictions."""
    tasks = dict(depth={}, semseg=dict(num_classes=3))
    model = tiny_model(tasks, test_cfg=dict(size='network')).eval()
    monkeypatch.setattr(
        type(model.tasks['depth']), 'interpolation', cv2.INTER_LINEAR
    )
    hole = torch.from_numpy(np.kron(HOLES['scattered'], np.ones((2, 2))) > 0)
    sample = MultiTaskDataSample(
        metainfo=dict(img_shape=(32, 64), ori_shape=(48, 72))
    )
    sample.gt_maps = PixelData(
        depth=torch.where(hole, 0.0, 4.0)[None],
        semseg=torch.where(hole, 255, 2).byte()[None],
    )
    (out,) = model.predict(torch.zeros(1, 3, 32, 64), [sample])
    assert out.gt_maps.shape == out.pred_maps.shape == (32, 64)
    assert set(out.gt_maps.depth.unique().tolist()) == {0, 4}
    assert set(out.gt_maps.semseg.unique().tolist()) == {2, 255}


def test_the_mean_of_normals_in_the_converter():
    """Zero vectors add nothing to the direction of a mean."""
    hole = HOLES['scattered'][..., None]
    normal = np.where(hole, 0, np.array([0.6, 0, -0.8])).astype(np.float32)
    small = unit_vectors(resize(normal, (8, 12), mixed=True))
    known = (small != 0).any(-1)
    assert known.mean() > 0.9
    assert np.allclose(small[known], (0.6, 0, -0.8), atol=1e-5)
