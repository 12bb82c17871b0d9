import numpy as np
import pytest

from mmprotomtl.datasets import SyntheticScenesDataset
from mmprotomtl.datasets.transforms import (
    LoadMultiTaskAnnotations,
    LoadMultiTaskImage,
    MultiTaskPad,
    MultiTaskRandomFlip,
    MultiTaskRandomScaleCrop,
    MultiTaskResize,
    PackMultiTaskInputs,
)
from mmprotomtl.readers import DataFile, read_npy, read_rgb
from mmprotomtl.tasks import build_tasks
from mmprotomtl.testing import TASKS
from mmprotomtl.utils.errors import DataFileError

LOAD = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
]


def scene(size=(60, 80), index=2):
    dataset = SyntheticScenesDataset(size=size, num_scenes=4, pipeline=LOAD)
    return dataset[index]


def plane(size, focal, normal, offset):
    """Depth and normals of the plane n . X = offset before the camera."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    ray = np.stack(
        [
            (x - (width - 1) / 2) / focal,
            (y - (height - 1) / 2) / focal,
            np.ones(size),
        ],
        -1,
    )
    depth = offset / (ray @ normal)
    normals = np.broadcast_to(normal, (*size, 3))
    return dict(
        img=np.zeros((*size, 3), np.uint8),
        tasks=build_tasks(dict(depth={}, normals={})),
        gt_maps=dict(
            depth=depth.astype(np.float32),
            normals=normals.astype(np.float32),
        ),
    )


def test_flipping_a_plane_gives_the_flipped_plane():
    size, focal = (40, 60), 50
    normal = np.array([0.5, 0.2, -0.8])
    normal /= np.linalg.norm(normal)
    for direction, sign in (
        ('horizontal', (-1, 1, 1)),
        ('vertical', (1, -1, 1)),
        ('diagonal', (-1, -1, 1)),
    ):
        results = plane(size, focal, normal, -2.0)
        flip = MultiTaskRandomFlip(prob=1.0, direction=direction)
        maps = flip(results)['gt_maps']
        expected = plane(size, focal, normal * sign, -2.0)['gt_maps']
        assert np.allclose(maps['depth'], expected['depth'], rtol=1e-4)
        assert np.allclose(maps['normals'], expected['normals'], atol=1e-5)


@pytest.mark.parametrize('scale', [1.25, 2.0])
def test_zooming_keeps_lengths_in_space(scale):
    """A pixel step at depth z spans z / focal metres: enlarged s times and s
    times nearer, what is seen keeps its size in the world.
    """
    size, focal = (40, 60), 50
    results = plane(size, focal, np.array([0.0, 0.0, -1.0]), -4.0)
    # Two marks, 12 columns apart.
    results['img'][20, 24:26] = results['img'][20, 36:38] = 255
    depth = results['gt_maps']['depth'][20, 24]
    before = 12 * depth / focal
    zoom = MultiTaskRandomScaleCrop(scales=(scale,))
    zoom._decide = lambda: (scale, 0.5, 0.5)
    out = zoom(results)
    row = out['img'][..., 0].max(0).astype(int)
    marks = np.flatnonzero(row > 120)
    left, right = marks[marks < 30].mean(), marks[marks >= 30].mean()
    after = (right - left) * out['gt_maps']['depth'][20, 30] / focal
    assert after == pytest.approx(before, rel=0.05)
    assert out['gt_maps']['depth'][0, 0] == pytest.approx(4 / scale)
    assert out['img'].shape == (40, 60, 3)


@pytest.mark.parametrize('place', [0.0, 0.999])
def test_a_zoom_reaches_every_edge(place):
    """The first window begins with the image, the last one ends with it."""
    ramp = np.arange(1, 61, dtype=np.float32)
    results = dict(
        img=np.zeros((60, 60, 3), np.uint8),
        tasks=build_tasks(dict(depth={})),
        gt_maps=dict(depth=np.maximum(ramp[:, None], ramp)),
    )
    results['img'][..., 0] = results['gt_maps']['depth']
    zoom = MultiTaskRandomScaleCrop(scales=(2.0,))
    zoom._decide = lambda: (2.0, place, place)
    out = zoom(results)
    corner = 0 if place == 0 else -1
    value = 1 if place == 0 else 60
    assert out['gt_maps']['depth'][corner, corner] == value / 2
    assert out['img'][corner, corner, 0] == value
    # 30 of 60 rows are seen.
    seen = np.unique(out['gt_maps']['depth'][:, corner])
    assert len(seen) == (30 if place == 0 else 1)


@pytest.mark.parametrize('index', range(3))
def test_image_and_labels_move_together(index):
    """A pattern painted on image and labels is found at the same places."""
    results = scene(index=index)
    mark = np.zeros((60, 80), np.uint8)
    mark[10:30, 20:60] = 1
    results['img'] = np.repeat(mark[..., None] * 255, 3, 2)
    results['tasks'] = build_tasks(dict(sal={}))
    results['gt_maps'] = dict(sal=mark)
    np.random.seed(index)
    for step in (
        MultiTaskRandomScaleCrop((1.5,)),
        MultiTaskRandomFlip(prob=1.0),
        MultiTaskResize(scale=(40, 30)),
    ):
        results = step(results)
    assert results['img'].shape[:2] == results['gt_maps']['sal'].shape
    moved = results['img'][..., 0] > 127
    differ = moved != results['gt_maps']['sal']
    assert 0 < moved.mean() < 1
    assert differ.mean() < 0.05


def test_random_decisions_do_not_depend_on_labels():
    """The same seed moves an image the same way, whatever is labelled."""
    images = []
    for names in ([], ['semseg'], list(TASKS)):
        results = scene()
        results['gt_maps'] = {n: results['gt_maps'][n] for n in names}
        np.random.seed(5)
        for step in (MultiTaskRandomScaleCrop(), MultiTaskRandomFlip(0.5)):
            results = step(results)
        images.append(results['img'])
    assert np.array_equal(images[0], images[1])
    assert np.array_equal(images[0], images[2])


def test_classes_survive_resizing():
    results = MultiTaskResize(scale=(33, 21), keep_ratio=False)(scene())
    maps = results['gt_maps']
    assert set(np.unique(maps['semseg'])) <= set(range(7))
    assert set(np.unique(maps['edge'])) <= {0, 1}
    norm = np.linalg.norm(maps['normals'], axis=-1)
    assert np.allclose(norm, 1, atol=1e-4)
    assert results['scale_factor'] == pytest.approx((33 / 80, 21 / 60))


def test_labels_in_a_test_pipeline_keep_the_original_size():
    dataset = SyntheticScenesDataset(
        size=(60, 80),
        num_scenes=1,
        pipeline=[
            LOAD[0],
            dict(type='MultiTaskResize', scale=(40, 32), keep_ratio=False),
            LOAD[1],
            dict(type='PackMultiTaskInputs'),
        ],
    )
    item = dataset[0]
    assert item['inputs'].shape == (3, 32, 40)
    assert item['data_samples'].gt_maps.shape == (60, 80)
    assert item['data_samples'].metainfo['ori_shape'] == (60, 80)


def test_a_label_of_another_size_is_fitted_to_its_image(tmp_path):
    label = np.zeros((30, 40, 3))
    label[..., 2] = -1
    label[:, 20:, 0] = 1
    np.save(tmp_path / 'n.npy', label)
    results = dict(
        tasks=build_tasks(dict(normals={})),
        labels=dict(normals=DataFile(str(tmp_path / 'n.npy'), read_npy)),
        ori_shape=(60, 80),
    )
    fitted = LoadMultiTaskAnnotations()(results)['gt_maps']['normals']
    assert fitted.shape == (60, 80, 3)
    assert np.allclose(np.linalg.norm(fitted, axis=-1), 1, atol=1e-5)
    assert np.allclose(fitted[30, 10], (0, 0, -1), atol=1e-3)


def test_damaged_images_are_named(tmp_path):
    from PIL import Image

    path = tmp_path / 'a.png'
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    load = LoadMultiTaskImage()
    image = load(dict(image=DataFile(str(path), read_rgb)))['img']
    assert np.array_equal(image[..., ::-1], noise)
    for data in (whole[: len(whole) // 2], b'', b'not an image'):
        path.write_bytes(data)
        with pytest.raises(DataFileError, match=r'a\.png: cannot be read'):
            load(dict(image=DataFile(str(path), read_rgb)))
    path.unlink()
    with pytest.raises(DataFileError, match=r'a\.png: no such file'):
        load(dict(image=DataFile(str(path), read_rgb)))


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        (np.zeros((4, 4)), 'H x W x 3'),
        (np.full((4, 4, 3), 7.0), 'values up to 7'),
        (np.full((4, 4, 3), np.nan), r'outside 0 \.\. 1'),
        (np.zeros((0, 4, 3)), 'H x W x 3'),
    ],
)
def test_impossible_arrays_are_no_images(tmp_path, array, message):
    np.save(tmp_path / 'i.npy', array)
    file = DataFile(str(tmp_path / 'i.npy'), read_npy)
    with pytest.raises(DataFileError, match=rf'i\.npy.*{message}'):
        LoadMultiTaskImage()(dict(image=file))


def test_packing():
    packed = PackMultiTaskInputs()(scene())
    assert packed['inputs'].shape == (3, 60, 80)
    sample = packed['data_samples']
    assert set(sample.gt_maps.keys()) == set(TASKS)
    assert sample.gt_maps.normals.shape == (3, 60, 80)
    assert sample.metainfo['sample_id'] == '2'


def test_bad_scales_are_named():
    with pytest.raises(ValueError, match=r'scales=\(0\.5,\)'):
        MultiTaskRandomScaleCrop(scales=(0.5,))


@pytest.mark.parametrize(
    ('values', 'pixel'),
    [
        (np.full((2, 2, 3), 0.5), 128),
        (np.full((2, 2, 3), 1.0005), 255),
        (np.full((2, 2, 3), 7, np.uint8), 7),
        (np.full((2, 2, 3), -0.1), None),
        (np.full((2, 2, 3), np.nan), None),
        (np.full((2, 2, 3), 1.01), None),
    ],
)
def test_numbers_of_an_image(tmp_path, values, pixel):
    path = str(tmp_path / 'a.npy')
    np.save(path, values)
    load = LoadMultiTaskImage()
    if pixel is None:
        with pytest.raises(DataFileError, match=r'a\.npy: values'):
            load.transform(dict(image=DataFile(path, read_npy)))
        return
    results = load.transform(dict(image=DataFile(path, read_npy)))
    assert (results['img'] == pixel).all()
    assert results['img'].dtype == np.uint8


@pytest.mark.parametrize(
    ('size', 'given', 'box'),
    [
        ((4, 6), dict(size=(9, 6)), (2, 0, 9, 6)),
        ((4, 6), dict(size=(4, 9)), (0, 1, 4, 9)),
        ((4, 6), dict(size=(2, 2)), (0, 0, 4, 6)),
        ((4, 6), dict(size_divisor=5), (0, 2, 5, 10)),
        ((5, 10), dict(size_divisor=5), (0, 0, 5, 10)),
    ],
)
def test_what_padding_adds(size, given, box):
    """Nothing where the image is large enough already."""
    tasks = build_tasks(dict(sal={}))
    label = np.ones(size, np.uint8)
    results = MultiTaskPad(**given).transform(
        dict(
            img=np.full((*size, 3), 9, np.uint8),
            gt_maps=dict(sal=label),
            tasks=tasks,
        )
    )
    top, left, height, width = box
    assert results['content_box'] == (top, left, *size)
    assert results['img_shape'] == (height, width)
    padded = results['gt_maps']['sal']
    inside = np.zeros((height, width), bool)
    inside[top : top + size[0], left : left + size[1]] = True
    assert (padded == np.where(inside, 1, 255)).all()
    assert ((results['img'] == 9).all(-1) == inside).all()
