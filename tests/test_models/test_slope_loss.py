"""Visible normals teach depth where there is no label of depth."""

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData
from torch.nn import functional as F
from torch.utils.data import DataLoader

from mmprotomtl.datasets import SyntheticScenesDataset
from mmprotomtl.engine.task_check_hook import _check_cameras
from mmprotomtl.models.heads.multitask_head import _find_guides
from mmprotomtl.registry import DATASETS
from mmprotomtl.scenes.builder import scene_of
from mmprotomtl.scenes.renderer import render
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.tasks import build_tasks
from mmprotomtl.testing import tiny_model
from mmprotomtl.utils.camera import Camera

SIZE = (60, 80)
TASKS = dict(depth=dict(slope_weight=0.5), normals={})
DEPTH = build_tasks(TASKS)['depth']
LOAD = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
]
CAMERA = Camera(70, 65, 38, 31, SIZE)


def plane(normal, distance=2.0):
    """Depth (1 x 1 x H x W), normals and rays of n x = -distance."""
    normal = np.array(normal, float) / np.linalg.norm(normal)
    rays = CAMERA.rays().astype(float)
    depth = -distance / (rays / rays[..., 2:] @ normal)
    label = np.broadcast_to(normal, rays.shape)
    tensors = (depth[..., None], label, rays)
    return [
        torch.from_numpy(array.transpose(2, 0, 1)[None].copy()).float()
        for array in tensors
    ]


def test_it_is_nought_for_the_surface_itself():
    """Of a plane, and of rendered rooms where surfaces are seen whole."""
    depth, label, rays = plane([0.3, -0.5, -1])
    loss, count = DEPTH.guide_loss(depth, label, rays)
    assert count.item() == (SIZE[0] - 2) * (SIZE[1] - 2)
    assert loss.item() == pytest.approx(0, abs=1e-5)
    # Farther away in proportion, it is the same view.
    loss, _ = DEPTH.guide_loss(2.5 * depth, label, rays)
    assert loss.item() == pytest.approx(0, abs=1e-5)
    for i in range(4):
        frame = render(0, i, (96, 128))
        focal = scene_of(0, i).focal * 128
        camera = Camera(focal, focal, 63.5, 47.5, (96, 128))
        maps = [
            torch.from_numpy(m.reshape(96, 128, -1)).permute(2, 0, 1)[None]
            for m in (frame.depth, frame.normal, camera.rays())
        ]
        loss, count = DEPTH.guide_loss(*maps)
        assert count.item() > 0.7 * 96 * 128
        assert loss.item() < 0.08
        flat, _ = DEPTH.guide_loss(torch.full_like(maps[0], 3), *maps[1:])
        assert flat.item() > 3 * loss.item()


@pytest.mark.parametrize('angle', [10, 40, 80])
def test_it_is_one_less_the_cosine(angle):
    """Of the angle between two planes, to the pixel."""
    rad = np.radians(angle)
    depth, _, rays = plane([0, 0, -1])
    other = torch.tensor([np.sin(rad), 0, -np.cos(rad)]).float()
    label = other.reshape(1, 3, 1, 1).expand(1, 3, *SIZE)
    loss, _ = DEPTH.guide_loss(depth, label, rays)
    assert loss.item() == pytest.approx(1 - np.cos(rad), abs=1e-5)


def test_pixels_that_say_nothing():
    """Without a label, without a ray, and where two planes meet."""
    depth, label, rays = plane([0.3, -0.5, -1])
    ok = torch.zeros(1, *SIZE, dtype=torch.bool)
    ok[:, 1:-1, 1:-1] = True
    gone = label.clone()
    gone[..., 20, 30] = 0
    wrong = depth.clone()
    wrong[..., 20, 30] = 9  # Taken by itself and by its four neighbours.
    loss, count = DEPTH.guide_loss(wrong, gone, rays)
    assert count.item() == ok.sum().item() - 5
    assert loss.item() == pytest.approx(0, abs=1e-5)
    dark = rays.clone()
    dark[..., 20, 30] = 0
    loss, count = DEPTH.guide_loss(wrong, label, dark)
    assert count.item() == ok.sum().item() - 5
    assert loss.item() == pytest.approx(0, abs=1e-5)
    edge = label.clone()
    edge[..., 40:] = torch.tensor([0, 0, -1.0]).reshape(3, 1, 1)
    _, count = DEPTH.guide_loss(depth, edge, rays)
    assert count.item() == ok.sum().item() - 2 * (SIZE[0] - 2)


@pytest.mark.parametrize('far', [0.0, 1.0, 100.0])
def test_gradients_are_bounded(far):
    """At a step in depth, and where the prediction is nonsense."""
    depth, label, rays = plane([0.3, -0.5, -1])
    depth[..., 40:] += far
    depth[..., 10, 10] = -5
    depth[..., 30, 20] = 1e6
    depth.requires_grad_()
    loss, count = DEPTH.guide_loss(depth, label, rays)
    loss.sum().backward()
    assert torch.isfinite(depth.grad).all()
    # Of one pixel: metres at the nearest depth allowed, over two pixels' rays.
    bound = 8 / (DEPTH.NEAREST * 2 / 70) / count.item()
    assert depth.grad.abs().max() < bound
    if far == 100:
        assert depth.grad[..., 15:20, 39:41].abs().max() < 0.1 / count.item()


@pytest.mark.parametrize('scale', [1e-6, 0, -1])
def test_a_depth_of_nought_moves_nothing(scale):
    """What is nearer than the least depth has no gradient, and no loss that
    is not a number.
    """
    depth, label, rays = plane([0.3, -0.5, -1])
    depth = (scale * depth.roll(3, -1)).requires_grad_()
    loss, _ = DEPTH.guide_loss(depth, label, rays)
    loss.sum().backward()
    assert 0 < loss.item() < 1
    assert (depth.grad == 0).all()


def test_it_brings_depth_to_its_slope():
    """A depth that is flat becomes the plane, up to its distance."""
    truth, label, rays = plane([0.3, -0.5, -1])
    small = F.interpolate(truth, (15, 20), mode='area')
    guess = torch.full_like(small, float(truth.mean())).requires_grad_()
    optimizer = torch.optim.Adam([guess], lr=0.03)
    for _ in range(300):
        optimizer.zero_grad()
        grown = F.interpolate(guess, SIZE, mode='bilinear')
        DEPTH.guide_loss(grown, label, rays)[0].sum().backward()
        optimizer.step()
    ratio = (grown / truth)[..., 8:-8, 8:-8]
    before = (truth.mean() / truth)[..., 8:-8, 8:-8]
    assert before.std() / before.mean() > 0.1
    assert ratio.std() / ratio.mean() < 0.03


def test_rays_move_with_the_pixels():
    """Through resize, zoom, mirror, turn and padding, what is learnt from a
    label stays nought for the depth that moved as well.
    """
    steps = [
        dict(type='MultiTaskResize', scale=(120, 90)),
        dict(type='MultiTaskRandomScaleCrop', scales=(1.5,)),
        dict(type='MultiTaskRandomScale', ratio_range=(0.8, 0.8)),
        dict(type='MultiTaskRandomFlip', prob=1.0),
        dict(type='MultiTaskRandomCrop', crop_size=(64, 80)),
        dict(type='MultiTaskRandomRotate', prob=1.0, degree=(20, 20)),
    ]
    for number in range(len(steps) + 1):
        data = SyntheticScenesDataset(
            size=(96, 128), num_scenes=2, tasks=TASKS,
            pipeline=[
                *LOAD, *steps[:number],
                dict(type='MultiTaskPad', size=(99, 130)),
                dict(type='PackMultiTaskInputs'),
            ],
        )  # fmt: skip
        np.random.seed(2)
        sample = data[0]['data_samples']
        depth, normals = (
            sample.gt_maps.get(name)[None] for name in ('depth', 'normals')
        )
        loss, count = DEPTH.guide_loss(depth, normals, sample.rays[None])
        assert count.item() > 500, number
        # The nearest pixel of a resized label is up to half a pixel away.
        assert loss.item() < 0.15, number
        mirrored = sample.rays[None].flip(-1)
        wrong, _ = DEPTH.guide_loss(depth, normals, mirrored)
        assert wrong.item() > 2 * loss.item(), number


def test_rays_come_through_workers_and_padding():
    data = SyntheticScenesDataset(
        size=(30, 40), num_scenes=2, tasks=TASKS,
        pipeline=[*LOAD, dict(type='PackMultiTaskInputs')],
    )  # fmt: skip
    loader = DataLoader(
        data, batch_size=2, num_workers=1, collate_fn=pseudo_collate
    )
    (batch,) = loader
    for i in range(2):
        here = data[i]['data_samples'].rays
        assert torch.equal(batch['data_samples'][i].rays, here)
    focal = scene_of(0, 0).focal * 40
    ray = torch.tensor([(7 - 19.5) / focal, (4 - 14.5) / focal, 1.0])
    assert torch.allclose(
        batch['data_samples'][0].rays[:, 4, 7], ray / ray.norm(), atol=1e-6
    )
    kept = batch['data_samples'][1].rays
    padded = tiny_model(TASKS).data_preprocessor(batch, training=True)
    rays = padded['data_samples'][1].rays
    assert rays.shape == (3, 32, 64)
    assert torch.equal(rays[:, :30, :40], kept)
    assert rays.abs().sum() == pytest.approx(kept.abs().sum().item())


def test_a_data_set_without_a_camera_is_refused():
    folder = dict(
        type='ImageFolderMTDataset', folders=dict(depth='d', normals='n'),
        tasks=TASKS, lazy_init=True,
    )  # fmt: skip
    with pytest.raises(ValueError, match='train_dataloader.dataset .Image.*'
                       'intrinsics.*depth would'):  # fmt: skip
        _check_cameras(build_tasks(TASKS), DATASETS.build(folder))
    camera = dict(fx=1, fy=1, cx=0, cy=0, size=(2, 2))
    _check_cameras(
        build_tasks(TASKS), DATASETS.build(dict(folder, camera=camera))
    )
    plain = build_tasks(dict(depth={}, normals={}))
    _check_cameras(plain, DATASETS.build(folder))


def sample(depth, label, rays, names):
    maps = dict(depth=depth[0], normals=label[0])
    made = MultiTaskDataSample(metainfo=dict(img_shape=SIZE))
    made.gt_maps = PixelData(**{name: maps[name] for name in names})
    made.set_field(rays[0], 'rays', dtype=torch.Tensor)
    return made


def test_the_head_takes_images_without_depth():
    """One with normals alone; not one with depth, nor one with neither."""
    maps = plane([0.3, -0.5, -1])
    samples = [sample(*maps, names) for names in (
        ['depth'], ['normals'], ['depth', 'normals'], [],
    )]  # fmt: skip
    tasks = build_tasks(TASKS)
    assert list(_find_guides(tasks['depth'], tasks, samples)) == [1]
    assert _find_guides(tasks['normals'], tasks, samples) == {}
    model = tiny_model(TASKS)
    inputs = torch.randn(4, 3, *SIZE)
    torch.manual_seed(0)
    losses = model.loss(inputs, samples)
    with torch.no_grad():
        logits = model.encode_decode(inputs)['depth']
    expected = tasks['depth'].guide_loss(logits[1:2], *maps[1:])[0]
    got = losses['depth.loss_guided']
    assert got.item() == pytest.approx(0.5 * expected.item() / 4, abs=1e-6)
    # All else is as without it.
    plain = tiny_model(dict(depth={}, normals={}))
    plain.load_state_dict(model.state_dict())
    torch.manual_seed(0)
    others = plain.loss(inputs, samples)
    assert set(losses) - set(others) == {'depth.loss_guided'}
    assert losses['depth.loss'].item() == pytest.approx(
        others['depth.loss'].item(), rel=1e-5
    )
    # No image to learn on: the key stays, and so does a gradient.
    none = model.loss(inputs[:1], samples[:1])['depth.loss_guided']
    assert none.item() == 0 and none.requires_grad


def test_off_unless_asked():
    tasks = dict(depth={}, normals={})
    data = SyntheticScenesDataset(
        size=SIZE, num_scenes=1, tasks=tasks, pipeline=LOAD
    )
    assert 'rays' not in data[0] and 'camera' not in data[0]
    assert build_tasks(tasks)['depth'].guide_weight == 0


@pytest.mark.parametrize('wrong', [
    dict(slope_weight=-1.0), dict(slope_weight=0.1, unit='disparity'),
])  # fmt: skip
def test_what_is_refused(wrong):
    with pytest.raises(ValueError, match='tasks.depth.slope_weight'):
        build_tasks(dict(depth=wrong))
