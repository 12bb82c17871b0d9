import numpy as np
import pytest

from mmprotomtl.datasets import SyntheticScenesDataset
from mmprotomtl.scenes.builder import (
    FACE_CLASSES,
    PERSON,
    ROOM_INSTANCES,
    scene_of,
)
from mmprotomtl.scenes.geometry import (
    Box,
    Capsule,
    Cylinder,
    Ellipsoid,
    rays_from,
)
from mmprotomtl.scenes.renderer import render

SIZE = (60, 80)


def test_a_scene_follows_from_seed_and_number():
    first = render(3, 1, SIZE)
    render.cache_clear()
    again = render(3, 1, SIZE)
    for name, value in first._asdict().items():
        assert np.array_equal(value, getattr(again, name)), name
    assert not np.array_equal(first.image, render(3, 2, SIZE).image)
    assert not np.array_equal(first.image, render(4, 1, SIZE).image)


def test_splits_are_different_worlds():
    images = [
        SyntheticScenesDataset(size=SIZE, num_scenes=1, split=s, seed=seed)
        .get_data_info(0)['image']
        .load()
        for s in ('train', 'val', 'test')
        for seed in (0, 1)
    ]
    for i, a in enumerate(images):
        for b in images[:i]:
            assert not np.array_equal(a, b)


def camera_points(frame, focal):
    height, width = frame.depth.shape
    y, x = np.mgrid[:height, :width]
    ray = np.stack(
        [
            (x - (width - 1) / 2) / focal,
            (y - (height - 1) / 2) / focal,
            np.ones_like(x),
        ],
        -1,
    )
    return ray * frame.depth[..., None]


@pytest.mark.parametrize('index', range(6))
def test_normals_are_those_of_the_depth(index):
    """The cross product of neighbouring surface points is the normal."""
    size = (120, 160)
    frame = render(0, index, size)
    points = camera_points(frame, scene_of(0, index).focal * size[1])
    right = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    # right x down points away from the camera.
    normal = -np.cross(right, down)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    angle = np.degrees(
        np.arccos((normal * frame.normal[1:-1, 1:-1]).sum(-1).clip(-1, 1))
    )
    assert np.allclose(np.linalg.norm(frame.normal, axis=-1), 1, atol=1e-4)
    assert np.median(angle) < 0.2
    # Where one solid is seen around the pixel, curved ones included.
    near = [
        frame.instance[1 + dy : 119 + dy, 1 + dx : 159 + dx]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    ]
    inside = (np.stack(near) == near[4]).all(0) & (
        frame.kind[1:-1, 1:-1] != PERSON
    )
    assert inside.mean() > 0.4
    assert (angle[inside] < 5).mean() > 0.97
    # Every surface that is seen faces the camera.
    ray = points / np.linalg.norm(points, axis=-1, keepdims=True)
    assert ((frame.normal * ray).sum(-1) < 1e-3).all()


@pytest.mark.parametrize('index', range(6))
def test_labels_agree_with_each_other(index):
    frame = render(0, index, SIZE)
    faces = frame.instance < ROOM_INSTANCES
    assert (frame.kind[faces] == FACE_CLASSES[frame.instance[faces]]).all()
    assert ((frame.part > 0) <= (frame.kind == PERSON)).all()
    assert ((frame.kind == PERSON) <= (frame.part > 0)).all()
    assert frame.depth.min() > 0.3
    assert frame.depth.max() < 12
    edge = frame.edge
    inner = frame.instance[:-1, :-1]
    other = (inner != frame.instance[:-1, 1:]) | (
        inner != frame.instance[1:, :-1]
    )
    assert (edge[:-1, :-1] == other).all()
    salient = np.unique(frame.instance[frame.saliency == 1])
    assert len(salient) == 1
    assert salient[0] >= ROOM_INSTANCES
    assert (frame.saliency[frame.instance == salient[0]] == 1).all()


def test_all_classes_and_parts_occur():
    frames = [render(0, i, SIZE) for i in range(16)]
    assert {int(c) for f in frames for c in np.unique(f.kind)} == set(range(7))
    assert {int(c) for f in frames for c in np.unique(f.part)} == set(range(7))


def numeric_hit(solid, origin, direction):
    """March along the ray until an implicit function says inside."""

    def inside(p):
        q = (p - solid.center) @ solid.axes.T
        s = solid.size
        if isinstance(solid, Ellipsoid):
            return ((q / s) ** 2).sum() < 1
        if isinstance(solid, Box):
            return (np.abs(q) < s).all()
        if isinstance(solid, Cylinder):
            return np.hypot(q[0], q[2]) < s[0] and abs(q[1]) < s[1]
        q = q - [0, np.clip(q[1], -s[1], s[1]), 0]
        return np.linalg.norm(q) < s[0]

    for t in np.arange(0, 6, 2e-3):
        if inside(origin + t * direction):
            return t
    return None


@pytest.mark.parametrize('kind', [Ellipsoid, Box, Cylinder, Capsule])
def test_intersections_against_marching(kind):
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    size = dict(Ellipsoid=(0.5, 0.9, 0.7), Box=(0.5, 0.9, 0.7)).get(
        kind.__name__, (0.5, 0.7, 0.5)
    )
    solid = kind((0.2, -0.1, 3), size, axes, {}, kind=0)
    origin = np.array([0.1, 0.2, 0], np.float32)
    aim = rng.normal((0.2, -0.1, 3), (0.7, 0.7, 0.3), (60, 3))
    direction = (aim - origin).astype(np.float32)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    rays = rays_from(origin, direction)
    chosen = solid.candidates(rays)
    t, normal = solid.hit(rays, chosen)
    found = dict(zip(chosen.tolist(), t.tolist(), strict=True))
    hits = 0
    for i, d in enumerate(direction):
        expected = numeric_hit(solid, origin, d)
        if expected is None:
            assert found.get(i, 1e6) > 5.9, i
        else:
            hits += 1
            assert found[i] == pytest.approx(expected, abs=4e-3)
    assert 15 < hits < 60
    real = t < 1e5
    assert np.allclose(np.linalg.norm(normal[real], axis=1), 1, atol=1e-4)
    assert ((normal * direction[chosen]).sum(1)[real] < 0).all()


def test_body_parts_apply_where_people_are():
    dataset = SyntheticScenesDataset(size=(24, 32), num_scenes=12, pipeline=[])
    seen = [
        (dataset.get_data_info(i)['labels']['human_parts'].load() > 0).any()
        for i in range(12)
    ]
    applies = [dataset.applicable(str(i), 'human_parts') for i in range(12)]
    assert 0 < sum(applies) < 12
    # A person may be hidden, but none is seen where there is none.
    assert not any(s and not a for s, a in zip(seen, applies, strict=True))
    assert sum(seen) > 0
    assert all(dataset.applicable(str(i), 'depth') for i in range(12))
