import pytest
import torch
from mmengine.structures import PixelData

from mmprotomtl.models.segmentors.multitask_segmentor import measure_backbone
from mmprotomtl.registry import MODELS
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.testing import PLAIN, TASKS, scene_batch, tiny_model

ALL = list(TASKS)
PATTERNS = {
    'full': [ALL, ALL],
    'one': [['semseg'], ['depth']],
    'none for a task': [ALL[1:], ALL[2:]],
    'an image without labels': [ALL, []],
    'none at all': [[], []],
}
METHOD_LOSSES = {'tae.loss', 'tke.loss', 'tc.loss'}


def losses_of(model, batch):
    data = model.data_preprocessor(batch, training=True)
    return model(**data, mode='loss')


@pytest.mark.parametrize('plain', [True, False], ids=['baseline', 'method'])
@pytest.mark.parametrize('labelled', PATTERNS.values(), ids=PATTERNS)
def test_every_parameter_gets_a_gradient(labelled, plain):
    model = tiny_model(**(PLAIN if plain else {})).train()
    losses = losses_of(model, scene_batch(labelled))
    expected = {f'{task}.loss' for task in TASKS}
    assert set(losses) == expected | (set() if plain else METHOD_LOSSES)
    total, _ = model.parse_losses(losses)
    total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    for task in TASKS:
        has_label = any(task in names for names in labelled)
        assert (losses[f'{task}.loss'] > 0) == has_label, task


@pytest.mark.parametrize(
    'memory', ['CrossTaskMemory', 'KeyValueMemory', 'TokenMemory']
)
@pytest.mark.parametrize('labelled', ['one', 'none at all'])
def test_gradients_with_other_memories(memory, labelled):
    model = tiny_model(neck=dict(memory=dict(type=memory))).train()
    losses = losses_of(model, scene_batch(PATTERNS[labelled]))
    model.parse_losses(losses)[0].backward()
    unused = {n for n, p in model.named_parameters() if p.grad is None}
    assert not unused


@pytest.mark.parametrize('reduction', ['balanced', 'per-task'])
def test_half_labelled_batch_has_the_loss_of_its_labelled_half(reduction):
    model = tiny_model(head=dict(reduction=reduction)).eval()
    both = losses_of(model, scene_batch([ALL, ['edge', 'sal'], [], []]))
    half = losses_of(model, scene_batch([ALL, ['edge', 'sal']]))
    for task in TASKS:
        key = f'{task}.loss'
        assert torch.allclose(both[key], half[key], rtol=1e-5), key


@pytest.mark.parametrize('name', ALL)
def test_unlabelled_pixels_do_not_matter(name):
    """Whatever is predicted there, NaN too, loss and gradient stay."""
    (task,) = tiny_model({name: TASKS[name]}).tasks.values()
    batch = scene_batch([ALL] * 2, size=(48, 64), seed=3)
    label = torch.stack([s.label(name) for s in batch['data_samples']])
    label[:, :, :10] = task.invalid
    results = []
    for value in (0.3, 1e30):
        logits = torch.linspace(-1, 1, 2 * task.out_channels * 48 * 64)
        logits = logits.reshape(2, -1, 48, 64).clone()
        logits[:, :, :10] = value
        logits.requires_grad_()
        loss, count = task.loss(logits, label)
        loss.sum().backward()
        results.append((loss, count, logits.grad))
    assert (results[0][1] <= 38 * 64).all()
    assert results[0][0].sum() > 0
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)
    assert (results[0][2][:, :, :10] == 0).all()


def test_prediction_has_the_original_size():
    model = tiny_model().eval()
    batch = scene_batch([ALL, ALL], size=(40, 50))
    for sample in batch['data_samples']:
        sample.set_metainfo(dict(ori_shape=(80, 100)))
    samples = model.test_step(batch)
    for sample in samples:
        for name, pred in sample.pred_maps.items():
            assert pred.shape[-2:] == (80, 100), name
        assert sample.pred_maps.semseg.dtype == torch.int64
        for name in ('edge', 'sal'):
            prob = sample.pred_maps.get(name)
            assert 0 <= prob.min() < prob.max() <= 1
        assert sample.pred_maps.depth.min() >= 0
        norm = sample.pred_maps.normals.norm(dim=0)
        assert torch.allclose(norm, torch.ones_like(norm), atol=1e-4)


def test_padding_does_not_change_a_prediction_much():
    """The prediction is cut at the image, not stretched over the padding."""
    model = tiny_model().eval()
    exact = scene_batch([ALL], size=(64, 64))
    for sample in exact['data_samples']:
        assert sample.metainfo['ori_shape'] == (64, 64)
    wide = scene_batch([ALL], size=(64, 64))
    model.data_preprocessor.pad_size_divisor = 128
    padded = model.test_step(wide)[0].pred_maps.depth
    model.data_preprocessor.pad_size_divisor = 32
    straight = model.test_step(exact)[0].pred_maps.depth
    # Far from the border nothing but the field of view differs.
    assert padded.shape == straight.shape
    assert torch.allclose(padded[:, :8, :8], straight[:, :8, :8], atol=0.05)


def test_tensor_mode_gives_the_logits_in_order():
    model = tiny_model().eval()
    out = model(torch.randn(2, 3, 32, 32), mode='tensor')
    widths = [task.out_channels for task in model.tasks.values()]
    assert [tuple(o.shape) for o in out] == [(2, w, 32, 32) for w in widths]


def test_predict_needs_no_data_samples():
    model = tiny_model().eval()
    (sample,) = model(torch.randn(1, 3, 32, 32), mode='predict')
    assert isinstance(sample, MultiTaskDataSample)
    assert isinstance(sample.pred_maps, PixelData)


def test_the_transformer_runs_on_labelled_pairs_only():
    model = tiny_model().train()
    seen = []
    model.head.blocks[0].register_forward_hook(
        lambda module, args, out: seen.append(len(args[0]))
    )
    losses_of(model, scene_batch([['semseg', 'depth'], ['edge'], []]))
    assert seen == [3]


def test_losses_and_similarities_are_float32_under_autocast():
    model = tiny_model().train()
    data = model.data_preprocessor(scene_batch([ALL, ALL]), True)
    with torch.autocast('cpu', torch.bfloat16):
        features = model.extract_feat(data['inputs'])
        assert features.features[0].dtype == torch.bfloat16
        assert features.extras['logits'].dtype == torch.float32
        losses = model(**data, mode='loss')
    full = model(**data, mode='loss')
    for key, value in losses.items():
        assert value.dtype == torch.float32, key
        assert torch.isfinite(value), key
        assert value.item() == pytest.approx(
            full[key].item(), rel=0.1, abs=1e-3
        ), key


def test_wrong_channels_are_named():
    with pytest.raises(ValueError, match=r'model\.neck\.in_channels.*\(8, '):
        tiny_model(neck=dict(in_channels=(64, 128)))


def test_a_backbone_that_gives_no_maps_is_named():
    backbone = MODELS.build(
        dict(
            type='mmpretrain.VisionTransformer',
            arch='deit-tiny',
            img_size=64,
            patch_size=16,
        )
    )
    with pytest.raises(ValueError, match='out_type="featmap"'):
        measure_backbone(backbone)


def test_measuring_leaves_the_backbone_as_it_was():
    model = tiny_model()
    backbone = model.backbone
    backbone.train()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    channels, strides = measure_backbone(backbone)
    assert (channels, strides) == ((8, 16, 32, 64), (4, 8, 16, 32))
    assert backbone.training
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_the_plain_head_has_no_transformer_to_offer():
    with pytest.raises(ValueError, match='PrototypeNeck'):
        tiny_model(neck=PLAIN['neck'])
