"""Slide, test-time augmentation and the size of predictions."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmprotomtl.models.segmentors.inference import augmented, slide
from mmprotomtl.tasks import build_tasks
from mmprotomtl.testing import PLAIN, TASKS, scene_batch, tiny_model

BASE = (40, 50)  # no multiple of 32: there is padding
KEPT = {name: TASKS[name] for name in ('semseg', 'depth', 'normals')}


def predict(test_cfg, size=BASE, ori=None, batch=2, change=None, **meta):
    torch.manual_seed(0)
    model = tiny_model(KEPT, test_cfg=test_cfg, **PLAIN).eval()
    if change:
        model.encode_decode = change
    data = scene_batch([list(KEPT)] * batch, size=size, tasks=KEPT)
    for sample in data['data_samples']:
        sample.set_metainfo(dict(ori_shape=ori or size, **meta))
    return model.test_step(data)


def equivariant(images, data_samples=None):
    """A network whose values change with the view as the tasks' do."""
    x, y, z = images.split(1, 1)
    right = F.pad(x, (1, 1, 0, 0), mode='replicate')
    slope = right[..., 2:] - right[..., :-2]  # odd under a mirror
    return dict(
        semseg=torch.cat([images, images * 2, y], 1),
        depth=(z + 5).abs(),
        normals=torch.cat([slope, y, z + 9], 1),
    )


def same(first, second, **kwargs):
    for a, b in zip(first, second, strict=True):
        for name in KEPT:
            a_map, b_map = a.pred_maps.get(name), b.pred_maps.get(name)
            assert a_map.shape == b_map.shape
            assert torch.allclose(a_map, b_map, **kwargs), name


def unpadded(images, data_samples=None):
    """:func:`equivariant`, for which the padding is not there."""
    cut = equivariant(images[..., : BASE[0], : BASE[1]])
    height, width = images.shape[-2:]
    padding = (0, width - BASE[1], 0, height - BASE[0])
    return {name: F.pad(logit, padding) for name, logit in cut.items()}


def test_mirrored_views_of_an_equivariant_network_change_nothing():
    plain = predict(dict(), change=unpadded)
    tta = dict(flip=True)
    same(plain, predict(dict(tta=tta), change=unpadded), atol=1e-5)
    # A normal that is not turned back would.
    assert plain[0].pred_maps.normals[0].abs().max() > 0.05


def test_mirrored_views_are_averaged():
    """Against the two predictions, merged by hand."""
    logits = []

    def keep(images, data_samples=None):
        logits.append(equivariant(images * images.new_tensor(3.0).sqrt()))
        ramp = torch.arange(images.shape[-1]) / 10.0
        logits[-1]['depth'] = logits[-1]['depth'] + ramp
        return logits[-1]

    (got,) = predict(dict(tta=dict(flip=True)), batch=1, change=keep)
    assert len(logits) == 2
    cut = [
        {n: v[..., : BASE[0], : BASE[1]] for n, v in view.items()}
        for view in logits
    ]
    depth = (cut[0]['depth'] + cut[1]['depth'].flip(-1)) / 2
    assert torch.allclose(got.pred_maps.depth, depth[0], atol=1e-5)
    classes = (cut[0]['semseg'] + cut[1]['semseg'].flip(-1)).argmax(1)
    assert torch.equal(got.pred_maps.semseg, classes)
    mirrored = F.normalize(cut[1]['normals'].flip(-1), dim=1)
    mirrored[:, 0] *= -1
    normals = F.normalize(F.normalize(cut[0]['normals'], dim=1) + mirrored)
    assert torch.allclose(got.pred_maps.normals, normals[0], atol=1e-5)


def test_zoomed_views_have_their_depth_scaled():
    sizes = []

    def zoomed(images, data_samples=None):
        sizes.append(tuple(images.shape[-2:]))
        ones = images[:, :1] * 0 + 1
        scale = images.shape[-1] / 64  # the image has no padding here
        return dict(
            semseg=ones.repeat(1, 7, 1, 1),
            depth=3 * ones / scale,
            normals=torch.cat([0 * ones, 0 * ones, ones], 1),
        )

    test_cfg = dict(tta=dict(scales=(0.5, 1, 2), flip=True))
    got = predict(test_cfg, size=(64, 64), batch=1, change=zoomed)
    assert sizes == [(32, 32)] * 2 + [(64, 64)] * 2 + [(128, 128)] * 2
    depth = got[0].pred_maps.depth
    assert torch.allclose(depth, torch.full_like(depth, 3.0))


def test_mirrored_views_of_an_image_in_the_middle_of_its_padding():
    place = dict(ori=(20, 30), content_box=(10, 7, 20, 30))
    plain = predict(dict(), change=equivariant, **place)
    assert plain[0].pred_maps.depth.shape == (1, 20, 30)
    mirrored = predict(dict(tta=dict(flip=True)), change=equivariant, **place)
    same(plain, mirrored, atol=1e-5)


def test_views_of_windows():
    tta = dict(scales=(0.5, 1), flip=True)
    wide = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))
    whole = predict(dict(tta=tta), batch=1)
    same(whole, predict(dict(tta=tta, **wide), batch=1), atol=1e-5)
    small = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    got = predict(dict(tta=tta, **small), batch=1)[0].pred_maps
    assert not torch.allclose(got.normals, whole[0].pred_maps.normals)
    length = got.normals.norm(dim=0)
    assert torch.allclose(length, torch.ones_like(length), atol=1e-5)


def test_one_plain_view_is_the_plain_prediction():
    plain = predict(dict(), batch=1)
    same(plain, predict(dict(tta=dict()), batch=1), atol=1e-6)


@pytest.mark.parametrize('crop', [(16, 24), (40, 7), (99, 99)])
def test_windows_are_averaged(crop):
    stride = (min(crop[0], 12), 5)
    image = torch.randn(2, 3, 40, 50)

    def network(x):
        # Depends on the place in the window, so that the windows disagree.
        rows = torch.arange(x.shape[-2])[:, None] * 1.0
        return dict(a=x[:, :2] + rows + torch.arange(x.shape[-1]))

    got = slide(network, image, crop, stride)['a'].numpy()
    height, width = min(crop[0], 40), min(crop[1], 50)
    tops = {min(t, 40 - height) for t in range(0, 40, stride[0])}
    lefts = {min(x, 50 - width) for x in range(0, 50, stride[1])}
    total, count = np.zeros((2, 2, 40, 50)), np.zeros((40, 50))
    for top in tops:
        for left in lefts:
            part = image[:, :2, top : top + height, left : left + width]
            offset = np.add.outer(np.arange(height), np.arange(width))
            total[..., top : top + height, left : left + width] += (
                part.numpy() + offset
            )
            count[top : top + height, left : left + width] += 1
    assert count.min() == 1
    assert np.allclose(got, total / count, atol=1e-4)


def test_slide_from_a_config():
    whole = predict(dict())
    wide = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))
    same(whole, predict(wide), atol=1e-5)
    small = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    got = predict(small)
    assert got[0].pred_maps.depth.shape == (1, *BASE)
    assert not torch.allclose(got[0].pred_maps.depth, whole[0].pred_maps.depth)


def test_size_of_prediction_and_label():
    (large,) = predict(dict(), ori=(80, 100), batch=1)
    assert large.pred_maps.semseg.shape == (1, 80, 100)
    network = dict(size='network')
    (small,) = predict(network, ori=(80, 100), batch=1)
    assert small.pred_maps.semseg.shape == (1, *BASE)
    # Labels at the files' size come to the network's.
    model = tiny_model(KEPT, test_cfg=network, **PLAIN).eval()
    data = scene_batch([list(KEPT)], size=BASE, tasks=KEPT)
    (sample,) = data['data_samples']
    truth = {name: label.clone() for name, label in sample.gt_maps.items()}
    fine = {
        name: label.repeat_interleave(2, 1).repeat_interleave(2, 2)
        for name, label in truth.items()
    }
    del sample.gt_maps
    sample.gt_maps = type(small.gt_maps)(**fine)
    sample.set_metainfo(dict(ori_shape=(80, 100)))
    (got,) = model.test_step(data)
    for name, label in truth.items():
        assert got.gt_maps.get(name).dtype == label.dtype
        assert torch.allclose(got.gt_maps.get(name), label, atol=1e-6), name


@pytest.mark.parametrize(
    ('test_cfg', 'told'),
    [
        (dict(mode='tiles'), r"test_cfg\.mode='tiles' is not allowed"),
        (dict(mode='slide'), r'test_cfg\.crop_size=None is not allowed'),
        (
            dict(mode='slide', crop_size=(8, 8), stride=(9, 8)),
            'leaves gaps',
        ),
        (dict(window=3), "model.test_cfg='window' is not allowed"),
        (dict(tta=dict(scales=())), r'tta\.scales=\(\) is not allowed'),
        (dict(size='half'), r"test_cfg\.size='half' is not allowed"),
    ],
)
def test_settings_are_checked(test_cfg, told):
    with pytest.raises(ValueError, match=told):
        tiny_model(KEPT, test_cfg=test_cfg, **PLAIN)


def test_a_task_with_other_logits_has_to_say_what_a_view_does():
    task = tiny_model(KEPT, **PLAIN).tasks['depth']
    with pytest.raises(ValueError, match='needs its own undo_view'):
        task.undo_view(torch.zeros(1, 4, 2, 2), None, 2.0)


def test_a_view_has_a_pixel_at_least():
    sizes = []

    def network(view):
        sizes.append(tuple(view.shape[-2:]))
        return dict(depth=view[:, :1] * 0 + 4)

    image = torch.ones(1, 3, 1, 2)
    found = augmented(
        network, image, build_tasks(dict(depth={})), (0.2, 1), False, 1
    )
    assert sizes == [(1, 1), (1, 2)]
    # The zoomed view sees everything five times as far.
    assert torch.allclose(found['depth'], torch.full((1, 1, 1, 2), 2.4))


@pytest.mark.parametrize('pair', [(8,), (8, 0), (8, -1), (8.0, 8), 8, 'ab'])
@pytest.mark.parametrize('key', ['crop_size', 'stride'])
def test_a_size_is_two_whole_numbers_above_0(key, pair):
    cfg = {**dict(mode='slide', crop_size=(8, 8), stride=(8, 8)), key: pair}
    with pytest.raises(ValueError, match=rf'test_cfg\.{key}='):
        tiny_model(KEPT, test_cfg=cfg, **PLAIN)
    cfg[key] = (1, 1)
    cfg['stride'] = (1, 1)
    assert tiny_model(KEPT, test_cfg=cfg, **PLAIN).test_cfg['mode'] == 'slide'


def memory_model(memory, **kwargs):
    torch.manual_seed(0)
    test_cfg = dict(memory=memory, **kwargs)
    model = tiny_model(KEPT, test_cfg=test_cfg, neck=dict(temperature=0.1))
    for parameter in model.head.parameters():
        # Weights at which what is read matters.
        torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def test_what_is_retrieved_can_be_replaced_in_a_test():
    inputs = torch.randn(3, 3, 64, 64)
    logits = {}
    for kind in ('own', 'zeros', 'other'):
        model = memory_model(kind)
        with torch.no_grad():
            logits[kind] = model(inputs, mode='tensor')
            features = model.extract_feat(inputs)
            read = features.retrieval.memory([[0, 1, 2]] * 3).unflatten(
                0, (3, 3)
            )
            # By hand: image i reads what belongs to image i + 1.
            for image, next_one in ((0, 1), (1, 2), (2, 0)):
                for task in range(3):
                    if kind == 'own':
                        memory = read[task, image]
                    elif kind == 'zeros':
                        memory = torch.zeros(16, 12)
                    else:
                        memory = read[task, next_one]
                    start = x = features.retrieval.tokens[task][image][None]
                    for block in model.head.blocks:
                        x = block(x, memory[None])
                    added = (x - start).transpose(1, 2).reshape(1, -1, 4, 4)
                    own = features.features[task][image][None]
                    added = F.interpolate(added, (8, 8), mode='bilinear')
                    expected = model.head.predictors[task](own + added)
                    expected = F.interpolate(
                        expected, (64, 64), mode='bilinear'
                    )
                    assert torch.allclose(
                        logits[kind][task][image], expected[0], atol=1e-3
                    )
    for kind in ('zeros', 'other'):
        change = (logits[kind][0] - logits['own'][0]).abs().max()
        assert change > 0.5


def test_training_reads_its_own_memory_whatever_the_test_does():
    batch = scene_batch([list(KEPT)] * 2, tasks=KEPT)
    losses = []
    for kind in ('own', 'zeros'):
        model = memory_model(kind)
        data = model.data_preprocessor(batch, training=True)
        losses.append(model(**data, mode='loss'))
    assert losses[0] == losses[1]


def test_where_a_memory_cannot_be_replaced():
    with pytest.raises(ValueError, match='reads no memory'):
        tiny_model(KEPT, test_cfg=dict(memory='zeros'), **PLAIN)
    with pytest.raises(ValueError, match='reads no memory'):
        tiny_model(
            KEPT, test_cfg=dict(memory='other'), head=dict(num_blocks=0)
        )
    with pytest.raises(ValueError, match="memory='ones'"):
        memory_model('ones')
    with pytest.raises(ValueError, match='one image at a time'):
        memory_model('other', tta=dict(flip=True))
    with pytest.raises(ValueError, match='batch of one'):
        memory_model('other')(torch.randn(1, 3, 64, 64), mode='tensor')
