"""The steps of the ATRC recipe, against geometry."""

import mmcv
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmprotomtl.datasets import NYUv2Dataset, SyntheticScenesDataset
from mmprotomtl.datasets.samplers import SeededIndex
from mmprotomtl.datasets.transforms import (
    MultiTaskPad,
    MultiTaskRandomCrop,
    MultiTaskRandomRotate,
    MultiTaskRandomScale,
)
from mmprotomtl.models.data_preprocessor import image_mask
from mmprotomtl.models.segmentors.multitask_segmentor import to_original
from mmprotomtl.registry import TRANSFORMS
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.tasks import build_tasks
from mmprotomtl.testing import TASKS, tiny_model
from tests.test_datasets.test_transforms import plane, scene

NORMAL = np.array([0.5, 0.2, -0.8]) / np.linalg.norm([0.5, 0.2, -0.8])


def test_scaling_a_plane():
    """Seen through a lens s times longer and s times nearer, a plane is the
    plane through the same pixels: depth / s, the normals as they were.
    """
    results = plane((40, 60), 50, NORMAL, -2.0)
    depth = results['gt_maps']['depth'].copy()
    step = MultiTaskRandomScale((1.5, 1.5))
    maps = step(results)['gt_maps']
    assert results['img'].shape == (60, 90, 3)
    assert results['img_shape'] == (60, 90)
    # Where pixel (y, x) of the result comes from: nearest, from 2/3 of it.
    for y, x in ((0, 0), (30, 45), (59, 89), (17, 70)):
        source = depth[int(y / 1.5), int(x / 1.5)]
        assert maps['depth'][y, x] == pytest.approx(source / 1.5)
    assert np.allclose(maps['normals'], NORMAL, atol=1e-5)


def test_scales_are_spread_over_the_range():
    np.random.seed(0)
    step = MultiTaskRandomScale()
    drawn = [step._decide() for _ in range(300)]
    assert min(drawn) < 0.55 and max(drawn) > 1.95
    with pytest.raises(ValueError, match='two factors above 0'):
        MultiTaskRandomScale((2, 1))


@pytest.mark.parametrize('degree', [90, -30])
def test_rotating_a_plane_gives_the_rotated_plane(degree):
    size = (61, 61)
    results = plane(size, 50, NORMAL, -2.0)
    step = MultiTaskRandomRotate(prob=1.0, degree=(degree, degree))
    maps = step(results)['gt_maps']
    # Clockwise to the eye, x right and y down: x' = x cos - y sin.
    cos, sin = np.cos(np.radians(degree)), np.sin(np.radians(degree))
    turned = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ NORMAL
    expected = plane(size, 50, turned, -2.0)['gt_maps']
    known = maps['depth'] > 0
    assert known.mean() > (0.95 if degree == 90 else 0.75)
    # Nearest neighbours are up to .7 pixels off on a slanted plane.
    assert np.allclose(
        maps['depth'][known], expected['depth'][known], rtol=0.03
    )
    length = np.linalg.norm(maps['normals'], axis=-1)
    seen = length > 0
    assert np.array_equal(seen, known)
    assert np.allclose(maps['normals'][seen], turned, atol=1e-5)


def test_corners_from_outside_have_no_label():
    np.random.seed(1)
    results = MultiTaskRandomRotate(prob=1.0, degree=(40, 40))(scene())
    outside = mmcv.imrotate(np.ones((60, 80), np.uint8), 40) == 0
    inner = results['gt_maps']
    for name, value in (('semseg', 255), ('edge', 255), ('depth', 0)):
        assert (inner[name][outside] == value).mean() > 0.97
    assert (np.abs(inner['normals'][outside]).sum(-1) == 0).mean() > 0.97


def test_cropping_cuts_image_and_labels_at_one_place():
    results = scene()
    place = np.arange(60 * 80, dtype=np.float32).reshape(60, 80) + 1
    results['tasks'] = build_tasks(dict(depth={}))
    results['gt_maps'] = dict(depth=place)
    results['img'] = np.stack([place % 256] * 3, -1).astype(np.uint8)
    np.random.seed(3)
    out = MultiTaskRandomCrop((30, 100))(results)
    assert out['img'].shape == (30, 80, 3)
    assert out['img_shape'] == (30, 80)
    assert np.array_equal(out['gt_maps']['depth'] % 256, out['img'][..., 0])
    assert out['gt_maps']['depth'][0, 0] % 80 == 1


def test_cropping_and_colours_leave_a_plane_where_it_is():
    """A window of a plane is the plane seen through the same pixels; the
    colours of the photograph are no matter of its labels.
    """
    results = plane((40, 60), 50, NORMAL, -2.0)
    rng = np.random.default_rng(0)
    results['img'] = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
    image, depth = results['img'], results['gt_maps']['depth']
    np.random.seed(5)
    out = MultiTaskRandomCrop((16, 20))(results)
    cut = np.lib.stride_tricks.sliding_window_view(image, (16, 20, 3))
    top, left = np.argwhere((cut[:, :, 0] == out['img']).all((2, 3, 4)))[0]
    assert top > 0 and left > 0
    expected = depth[top : top + 16, left : left + 20]
    assert np.array_equal(out['gt_maps']['depth'], expected)
    assert np.allclose(out['gt_maps']['normals'], NORMAL, atol=1e-5)
    before = out['img'].copy()
    out = TRANSFORMS.build(dict(type='PhotoMetricDistortion'))(out)
    assert not np.array_equal(out['img'], before)
    assert np.array_equal(out['gt_maps']['depth'], expected)
    assert np.allclose(out['gt_maps']['normals'], NORMAL, atol=1e-5)


def classes(label, names=('semseg',)):
    """An image of place numbers, and one label for several tasks."""
    place = np.arange(label.size).reshape(label.shape)
    return dict(
        img=np.stack([place % 256, place // 256, place * 0], -1),
        tasks=build_tasks(
            dict(semseg=dict(num_classes=4), human_parts={}, sal={}, depth={})
        ),
        gt_maps=dict.fromkeys(names, label),
    )


def test_a_window_of_one_class_is_drawn_anew():
    """The left half is floor; on the right there are two classes."""
    label = np.zeros((40, 80), np.uint8)
    label[:20, 40:], label[20:, 40:] = 1, 2
    plain = MultiTaskRandomCrop((20, 20))
    step = MultiTaskRandomCrop((20, 20), cat_max_ratio=0.75)
    largest, moved = {plain: 0, step: 0}, 0
    for seed in range(60):
        lefts = []
        for crop in largest:
            np.random.seed(seed)
            out = crop(classes(label))
            window = out['gt_maps']['semseg']
            top = np.bincount(window.ravel()).max() / window.size
            largest[crop] += top >= 0.75
            lefts.append(out['img'][0, 0, 0] + 256 * out['img'][0, 0, 1])
            # The windows after it are drawn the same way.
            follows = np.random.random()
            np.random.seed(seed)
            for _ in range(1 if crop is plain else 11):
                crop.crop_bbox(out | dict(img=label))
            assert np.random.random() == follows
        moved += lefts[0] != lefts[1]
    # A third of the windows is good: of eleven hardly ever none.
    assert largest[plain] > 30
    assert largest[step] <= 3
    # Windows that were good stay.
    assert largest[plain] - largest[step] <= moved <= largest[plain]


def test_what_a_window_of_one_class_is():
    task = build_tasks(dict(semseg=dict(num_classes=4)))['semseg']
    assert task.largest_share(np.array([[1, 1, 2, 255]], np.uint8)) == 2 / 3
    assert task.largest_share(np.full((2, 2), 255, np.uint8)) == 1
    for share in (0, 1.2, -1):
        with pytest.raises(ValueError, match='cat_max_ratio'):
            MultiTaskRandomCrop(4, cat_max_ratio=share)


def test_only_visible_labels_with_classes_move_the_window():
    """Nothing of classes is visible: the window is the first one. Body parts
    are mostly background, and masks and depth have no classes.
    """
    label = np.zeros((40, 80), np.uint8)
    step = MultiTaskRandomCrop((20, 20), cat_max_ratio=0.75)
    for seed in range(20):
        np.random.seed(seed)
        first = MultiTaskRandomCrop((20, 20))(classes(label))['img']
        for names in ((), ('human_parts', 'sal', 'depth')):
            np.random.seed(seed)
            assert np.array_equal(step(classes(label, names))['img'], first)


@pytest.mark.parametrize('damage', ['garbage', 'deleted', 'other classes'])
def test_hidden_labels_do_not_move_the_window(tmp_path, damage):
    """Crops with ``cat_max_ratio``, from files: what is hidden is neither
    read nor looked at; what is visible moves some windows.
    """
    rng = np.random.default_rng(0)
    for folder in ('image', 'label', 'depth', 'normal'):
        (tmp_path / 'train' / folder).mkdir(parents=True)
    for i in range(12):
        label = np.full((40, 60), 5)
        label[:, rng.integers(20, 40) :] = rng.integers(0, 5, (40, 1))
        arrays = dict(
            image=rng.random((40, 60, 3)), label=label,
            depth=rng.random((40, 60, 1)), normal=rng.random((40, 60, 3)),
        )  # fmt: skip
        for folder, array in arrays.items():
            np.save(tmp_path / f'train/{folder}/{i}.npy', array)

    def load(ratio, *rest):
        data = NYUv2Dataset(
            data_root=str(tmp_path),
            partial_labels=dict(protocol='one-label', seed=1),
            pipeline=[
                dict(type='LoadMultiTaskImage'),
                dict(type='LoadMultiTaskAnnotations'),
                dict(
                    type='MultiTaskRandomCrop',
                    crop_size=(16, 16),
                    cat_max_ratio=ratio,
                ),
                *rest,
            ],
        )
        items = []
        for seed in range(4):
            for i in range(12):
                item = data[SeededIndex(i, seed)]
                items.append((i, item['img'], item['gt_maps']))
        return items, data.label_mask.labelled

    (moved, mask), (first, _) = load(0.75), load(1.0)
    differ = [
        i
        for (i, image, _), (_, other, _) in zip(moved, first, strict=True)
        if not np.array_equal(image, other)
    ]
    assert differ and all('semseg' in mask[str(i)] for i in differ)
    rest = [
        dict(type='MultiTaskRandomFlip', prob=0.5),
        dict(type='mmseg.PhotoMetricDistortion'),
    ]
    before, _ = load(0.75, *rest)
    folders = dict(semseg='label', depth='depth', normals='normal')
    for i in range(12):
        for task, folder in folders.items():
            if task in mask[str(i)]:
                continue
            path = tmp_path / f'train/{folder}/{i}.npy'
            if damage == 'garbage':
                path.write_bytes(b'garbage')
            elif damage == 'deleted':
                path.unlink()
            else:
                np.save(path, np.ones_like(np.load(path)))
    after, _ = load(0.75, *rest)
    for (_, image, maps), (_, other, others) in zip(
        before, after, strict=True
    ):
        assert np.array_equal(image, other)
        assert list(maps) == list(others)
        for name in maps:
            assert np.array_equal(maps[name], others[name])


def test_padding_is_centred_and_unlabelled():
    before = scene()
    image, maps = before['img'].copy(), before['gt_maps']
    out = MultiTaskPad(size_divisor=32, pad_val=(1, 2, 3))(dict(before))
    assert out['img'].shape == (64, 96, 3)
    assert out['content_box'] == (2, 8, 60, 80)
    assert np.array_equal(out['img'][2:62, 8:88], image)
    assert out['img'][0, 0].tolist() == [1, 2, 3]
    for name, label in out['gt_maps'].items():
        assert np.array_equal(label[2:62, 8:88], maps[name])
        outside = np.ones((64, 96), bool)
        outside[2:62, 8:88] = False
        assert (label[outside] == before['tasks'][name].invalid).all()
    # What is larger than the size stays.
    assert MultiTaskPad(size=(10, 90))(scene())['img'].shape == (60, 90, 3)
    with pytest.raises(ValueError, match='give one of the two'):
        MultiTaskPad()


def test_predictions_are_cut_where_the_image_lay():
    """A padded test image: predictions come at the original size, from the
    middle of the padded one.
    """
    dataset = SyntheticScenesDataset(
        size=(40, 56),
        num_scenes=1,
        tasks=dict(semseg=dict(num_classes=7), depth={}),
        pipeline=[
            dict(type='LoadMultiTaskImage'),
            dict(type='MultiTaskPad', size=(64, 64)),
            dict(type='LoadMultiTaskAnnotations'),
            dict(type='PackMultiTaskInputs'),
        ],
    )
    item = dataset[0]
    sample = item['data_samples']
    assert sample.metainfo['content_box'] == (12, 4, 40, 56)
    assert sample.gt_maps.semseg.shape == (1, 40, 56)
    model = tiny_model(dict(semseg=dict(num_classes=7), depth={})).eval()
    batch = dict(inputs=[item['inputs']], data_samples=[sample])
    (done,) = model.test_step(batch)
    with torch.no_grad():
        data = model.data_preprocessor(batch)
        logits = model.encode_decode(data['inputs'])
    middle = logits['depth'][0, :, 12:52, 4:60].clamp(min=0)
    assert torch.allclose(done.pred_maps.depth, middle)
    mask = image_mask(data['inputs'], [sample])
    assert mask.sum() == 40 * 56
    assert mask[0, 0, 12:52, 4:60].all()


def test_without_padding_nothing_is_cut():
    meta = dict(img_shape=(20, 30), ori_shape=(20, 30))
    logit = torch.arange(32 * 32.0).reshape(1, 1, 32, 32)
    assert torch.equal(to_original(logit, meta), logit[..., :20, :30])
    sample = MultiTaskDataSample(metainfo=meta)
    sample.gt_maps = PixelData()
    assert image_mask(torch.zeros(1, 3, 32, 32), [sample]).sum() == 600


def recipe():
    """The recipe as a config writes it."""
    return [
        TRANSFORMS.build(step)
        for step in (
            dict(type='MultiTaskRandomScale', ratio_range=(0.5, 2.0)),
            dict(type='MultiTaskRandomRotate', prob=0.5, degree=10),
            dict(type='MultiTaskRandomCrop', crop_size=(48, 64)),
            dict(type='MultiTaskRandomFlip', prob=0.5),
            dict(type='mmseg.PhotoMetricDistortion'),
            dict(type='MultiTaskPad', size=(48, 64)),
        )
    ]


def test_the_recipe_does_not_look_at_labels():
    """The same seed makes the same image, and the same of each label, be the
    others hidden or not.
    """
    steps = recipe()
    for seed in range(8):
        found = []
        for names in ([], ['semseg', 'normals'], list(TASKS)):
            results = scene()
            results['gt_maps'] = {n: results['gt_maps'][n] for n in names}
            np.random.seed(seed)
            for step in steps:
                results = step(results)
            assert results['img'].shape == (48, 64, 3)
            found.append(results)
        none, some, every = found
        assert np.array_equal(none['img'], every['img'])
        assert np.array_equal(some['img'], every['img'])
        for name, label in some['gt_maps'].items():
            assert np.array_equal(label, every['gt_maps'][name])
        for name, label in every['gt_maps'].items():
            task = every['tasks'][name]
            assert label.shape[:2] == (48, 64)
            assert label.dtype == task.label_dtype
            # Still a label of its task.
            task.check_label(label, 'after the recipe')
