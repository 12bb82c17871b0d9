import pytest
import torch
from torch.nn import functional as F

from mmprotomtl.models.data_preprocessor import image_mask
from mmprotomtl.models.necks import PrototypeNeck
from mmprotomtl.models.necks.multitask_neck import ScaleFusion
from mmprotomtl.tasks import build_tasks
from mmprotomtl.testing import TASKS, scene_batch, tiny_model

SMALL = {name: TASKS[name] for name in ('semseg', 'normals', 'depth')}


def neck(**kwargs):
    cfg = dict(
        tasks=build_tasks(SMALL),
        in_channels=(8, 16),
        in_strides=(4, 16),
        channels=8,
        num_blocks=1,
        quantizer=dict(num_codes=16),
        prototype_dim=6,
        reconstruction_channels=4,
    )
    return PrototypeNeck(**{**cfg, **kwargs})


def read(out):
    """What all tokens of all tasks can read, ``T x N x L x d``."""
    tasks = len(out.features)
    images = len(out.features[0])
    memory = out.retrieval.memory([list(range(images))] * tasks)
    return memory.unflatten(0, (tasks, images))


def maps(size=64):
    return (
        torch.randn(2, 8, size // 4, size // 4),
        torch.randn(2, 16, size // 16, size // 16),
    )


def test_affinity_and_memory_are_those_of_a_hand_computation():
    module = neck(temperature=0.5, token_stride=1)
    out = module(maps())
    assert [f.shape for f in out.features] == [(2, 8, 8, 8)] * 3
    memory = read(out)
    assert memory.shape == (3, 2, 64, 6)
    for t, proj in enumerate(module.projections):
        feature = out.features[t][1, :, 3, 5]
        v = module.prototypes
        similarity = F.cosine_similarity(proj(feature)[None], v)
        affinity = (similarity / 0.5).softmax(0)
        place = 3 * 8 + 5
        assert torch.allclose(
            out.extras['logits'][t, 1, place], similarity / 0.5, atol=1e-5
        )
        assert torch.allclose(memory[t, 1, place], affinity @ v, atol=1e-5)
        mean = proj(out.features[t][1].flatten(1).t()).mean(0)
        assert torch.allclose(out.extras['means'][t, 1], mean, atol=1e-5)


def test_shared_feature_is_the_sum_with_the_codes():
    module = neck()
    feats = maps()
    out = module(feats)
    embedded = module.fusion(feats)
    codes = module.quantizer(embedded).codes
    assert torch.allclose(out.extras['shared'], embedded + codes)


def test_tokens_are_means_of_positions():
    out = neck(token_stride=2)(maps())
    means = F.avg_pool2d(out.features[1], 2)[0].flatten(1).t()
    assert torch.allclose(out.retrieval.tokens[1][0], means, atol=1e-6)
    assert out.retrieval.grid == (4, 4)
    odd = neck(token_stride=3)(maps())
    assert odd.retrieval.grid == (3, 3)
    last = odd.features[0][0, :, 6:, 6:].mean((1, 2))
    assert torch.allclose(odd.retrieval.tokens[0][0, 8], last, atol=1e-6)


@pytest.mark.parametrize('update', ['gradient', 'ema'])
def test_a_code_dim_of_its_own(update):
    module = neck(quantizer=dict(num_codes=16, code_dim=5, update=update))
    assert module.quantizer.codes.shape == (16, 5)
    feats = maps()
    out = module.eval()(feats)
    assert out.features[2].shape == (2, 8, 8, 8)
    embedded = module.fusion(feats)
    mapped = module.to_codes(embedded)
    rows = mapped.movedim(1, -1)
    nearest = torch.cdist(rows, module.quantizer.codes[None]).argmin(-1)
    codes = module.quantizer.codes[nearest].movedim(-1, 1)
    codes.retain_grad() if codes.requires_grad else codes.requires_grad_()
    shared = embedded + module.from_codes(codes)
    assert torch.allclose(out.extras['shared'], shared, atol=1e-6)
    # The map to codes gets the gradient that the codes get.
    weight = torch.randn_like(shared)
    (shared * weight).sum().backward()
    (expected,) = torch.autograd.grad(
        mapped, module.to_codes.weight, codes.grad
    )
    (found,) = torch.autograd.grad(
        (out.extras['shared'] * weight).sum(), module.to_codes.weight
    )
    assert expected.any()
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ('memory', 'width'),
    [
        ('PrototypeMemory', 6),
        ('TokenMemory', 6),
        ('CrossTaskMemory', 8),
        ('KeyValueMemory', 8),
        ('CodeMemory', 8),
    ],
)
def test_memories_are_exchangeable(memory, width):
    module = neck(memory=dict(type=memory))
    assert module.memory_channels == width
    out = module(maps())
    everything = read(out)
    assert everything.shape == (3, 2, 16, width)
    some = out.retrieval.memory([[1], [], [0, 1]])
    pairs = [everything[0, 1], everything[2, 0], everything[2, 1]]
    assert torch.allclose(some, torch.stack(pairs), atol=1e-6)
    assert out.retrieval.memory([[], [], []]).shape == (0, 16, width)


def test_cross_task_memory_reads_the_other_tasks():
    module = neck(memory=dict(type='CrossTaskMemory'), token_stride=1)
    out = module(maps())
    affinity = out.extras['logits'].softmax(-1)[0, 1, 10]
    rows = torch.stack(out.features).flatten(3)[:, 1, :, 10]
    expected = (affinity[1] * rows[1] + affinity[2] * rows[2]) / (
        affinity[1] + affinity[2]
    )
    assert torch.allclose(read(out)[0, 1, 10], expected, atol=1e-5)


@pytest.mark.parametrize('window', [None, 1, 3])
def test_key_value_memory_is_that_of_a_hand_computation(window):
    """Means of the other tasks' tokens, one token and prototype at a time."""
    module = neck(
        memory=dict(type='KeyValueMemory', window=window), num_slots=4,
        temperature=0.3,
    )  # fmt: skip
    feats = (torch.randn(2, 8, 16, 24), torch.randn(2, 16, 4, 6))
    with torch.no_grad():
        out = module(feats)
        found = read(out)
    height, width = out.retrieval.grid
    assert (height, width) == (4, 6) and found.shape == (3, 2, 24, 8)
    affinity = out.extras['logits'].softmax(-1)
    tokens = torch.stack(out.retrieval.tokens)
    for task, image, y, x in ((0, 1, 0, 0), (1, 0, 2, 3), (2, 1, 3, 5)):
        expected = torch.zeros(8)
        for slot in range(4):
            total, weights = torch.zeros(8), 0.0
            for other in {0, 1, 2} - {task}:
                for place in range(height * width):
                    away = max(abs(place // width - y), abs(place % width - x))
                    if window is None or away <= window // 2:
                        weight = affinity[other, image, place, slot]
                        total = total + weight * tokens[other, image, place]
                        weights = weights + weight
            own = affinity[task, image, y * width + x, slot]
            expected = expected + own * total / weights
        assert torch.allclose(
            found[task, image, y * width + x], expected, atol=1e-5
        )


def test_what_a_key_value_memory_needs():
    for window in (0, 2):
        with pytest.raises(ValueError, match=f'window={window}'):
            neck(memory=dict(type='KeyValueMemory', window=window))
    one = build_tasks(dict(depth=dict()))
    with pytest.raises(ValueError, match='single task'):
        neck(tasks=one, memory=dict(type='KeyValueMemory'))


def test_uniform_and_frozen_controls():
    module = neck(
        memory=dict(type='PrototypeMemory', uniform=True),
        freeze_prototypes=True,
    )
    out = module(maps())
    mean = module.prototypes.mean(0)
    assert torch.allclose(read(out)[2, 1, 3], mean, atol=1e-6)
    assert not module.prototypes.requires_grad


def test_several_prototypes_a_task():
    module = neck(
        prototypes_per_task=2, num_slots=7, memory=dict(type='CrossTaskMemory')
    ).train()
    out = module(maps())
    affinity = out.extras['logits'].softmax(-1)
    assert affinity.shape[-1] == len(module.prototypes) == 7
    owned = torch.stack(
        [affinity[..., :2].sum(-1), affinity[..., 2:4].sum(-1),
         affinity[..., 4:6].sum(-1), affinity[..., 6]], -1,
    )  # fmt: skip
    # L_tke is that of each task's own pair.
    own = torch.stack([owned[t, ..., t] for t in range(3)])
    tke = module.akg_loss(out.extras['logits'], out.extras['means'])['tke']
    assert torch.allclose(tke, -own.log().mean())
    # The log has their sums, and the one that belongs to no task.
    found = torch.tensor(module.statistics()['affinity'])
    assert torch.allclose(found, owned.mean((1, 2)), atol=1e-6)
    # So have memories that ask for tasks.
    tokens = torch.stack(out.retrieval.tokens)
    weight = owned[1, 0, 5]
    expected = (weight[0] * tokens[0, 0, 5] + weight[2] * tokens[2, 0, 5]) / (
        weight[0] + weight[2]
    )
    assert torch.allclose(read(out)[1, 0, 5], expected, atol=1e-5)


def test_temperature_schedule():
    module = neck(temperature=1.0, temperature_end=0.1, temperature_steps=4)

    def temperature():
        out = module(maps())
        tokens = out.retrieval.tokens[0][0]
        similarity = F.cosine_similarity(
            module.projections[0](tokens)[:, None], module.prototypes, dim=-1
        )
        return (similarity / out.extras['logits'][0, 0]).mean().item()

    expected = [1, 0.1**0.25, 0.1**0.5, 0.1**0.75, 0.1, 0.1]
    for step in range(3):
        # A test does not count.
        for mode in (False, True):
            module.train(mode)
            assert temperature() == pytest.approx(expected[step], rel=1e-3)
    resumed = neck(temperature=1.0, temperature_end=0.1, temperature_steps=4)
    resumed.load_state_dict(module.state_dict())
    module = resumed.train()
    for step in range(3, 6):
        assert temperature() == pytest.approx(expected[step], rel=1e-3)
    assert 'temperature.steps' not in neck().state_dict()


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (dict(temperature_end=0.1), 'temperature_end=0.1'),
        (dict(temperature_steps=10), 'temperature_steps=10'),
        (dict(temperature_end=0, temperature_steps=9), 'temperature_end=0'),
        (dict(temperature_end=1, temperature_steps=0), 'temperature_steps=0'),
        (dict(prototypes_per_task=0), 'prototypes_per_task=0'),
        (dict(prototypes_per_task=2, num_slots=5), 'num_slots=5'),
    ],
)
def test_prototype_settings_that_are_not_allowed(settings, words):
    with pytest.raises(ValueError, match=words):
        neck(**settings)


def test_more_slots_than_tasks_and_too_few():
    assert neck(num_slots=5)(maps()).extras['logits'].shape[-1] == 5
    with pytest.raises(ValueError, match='num_slots=2'):
        neck(num_slots=2)
    with pytest.raises(ValueError, match='temperature=0'):
        neck(temperature=0)


def test_reconstruction_loss_leaves_the_padding_out():
    model = tiny_model(SMALL)
    batch = scene_batch([list(SMALL)] * 2, size=(24, 40), tasks=SMALL)
    data = model.data_preprocessor(batch, training=True)
    inputs, samples = data['inputs'], data['data_samples']
    assert inputs.shape[-2:] == (32, 64)
    assert image_mask(inputs, samples).sum() == 2 * 24 * 40
    model.eval()
    features = model.extract_feat(inputs)
    loss = model.neck.loss(features, inputs, samples)['tae.loss']
    image = model.neck.reconstruction(features.extras['shared'])
    expected = F.smooth_l1_loss(image[..., :24, :40], inputs[..., :24, :40])
    assert torch.allclose(loss, expected)


def test_statistics_are_means_since_the_last_time():
    module = neck().train()
    affinities = []
    for _ in range(2):
        logits = module(maps()).extras['logits']
        affinities.append(logits.softmax(-1).mean((1, 2)))
    found = module.statistics()
    expected = torch.stack(affinities).mean(0)
    assert torch.allclose(torch.tensor(found['affinity']), expected)
    assert 0 < found['codebook']['usage'] <= 1
    assert (module.statistics()['affinity'] == 0).all()


@pytest.mark.parametrize(
    ('strides', 'stride', 'size'),
    [((4, 8, 16), 8, 9), ((4, 16), 8, 8), ((32, 4, 16), 16, 5), ((4,), 4, 17)],
)
def test_the_fused_map_has_the_size_of_the_scale_that_is_nearest(
    strides, stride, size
):
    """Backbones round odd sides up: a map is not half of the one above."""
    sides = {4: 17, 8: 9, 16: 5, 32: 3}
    fusion = ScaleFusion(
        [2] * len(strides), strides, 6, stride, dict(type='BN')
    )
    fusion.eval()
    feats = [torch.randn(1, 2, sides[s], sides[s] + 1) for s in strides]
    out = fusion(feats)
    assert out.shape[:3] == (1, 6, size)
    total = 0
    for lateral, feat in zip(fusion.laterals, feats, strict=True):
        total = total + F.interpolate(
            lateral(feat), out.shape[-2:], mode='bilinear'
        )
    assert torch.allclose(out, fusion.smooth(total.relu()), atol=1e-6)


def test_how_weights_start():
    torch.manual_seed(0)
    plain = neck(channels=64)
    plain.init_weights()
    convs = [m for m in plain.modules() if isinstance(m, torch.nn.Conv2d)]
    for conv in convs:
        # Kaiming's, of the fan out.
        fan = conv.out_channels * conv.kernel_size[0] ** 2 / conv.groups
        if conv.weight.numel() > 3000:
            expected = (2 / fan) ** 0.5
            assert conv.weight.std().item() == pytest.approx(expected, rel=0.1)
    linear = [m for m in plain.modules() if isinstance(m, torch.nn.Linear)]
    weights = torch.cat([m.weight.flatten() for m in linear])
    assert weights.std().item() == pytest.approx(0.02, rel=0.15)
    own = neck(init_cfg=dict(type='Constant', layer='Linear', val=3))
    own.init_weights()
    linear = [m for m in own.modules() if isinstance(m, torch.nn.Linear)]
    assert linear and all((m.weight == 3).all() for m in linear)
