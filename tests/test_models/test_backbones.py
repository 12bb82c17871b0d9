"""Each backbone of ``configs/_base_/backbones`` trains and predicts."""

import logging

import pytest
import torch
import torchvision
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmprotomtl.registry import MODELS
from mmprotomtl.testing import scene_batch, tiny_cfg
from tests.conftest import ROOT

FILES = sorted((ROOT / 'configs/_base_/backbones').glob('*.py'))
TASKS = dict(semseg=dict(num_classes=7), depth=dict())
#: Strides that its maps have, finest first.
STRIDES = dict(
    vit_base=(16,), vit_large=(16,), segnet=(4, 8, 16, 32)
)  # fmt: skip
#: Smaller in depth than the config: the test is of how it fits.
SMALLER = dict(
    resnet101=dict(depth=50),
    vit_large=dict(
        arch=dict(
            embed_dims=48,
            num_layers=2,
            num_heads=3,
            feedforward_channels=96,
        )
    ),
    vit_base=dict(
        arch=dict(
            embed_dims=48,
            num_layers=2,
            num_heads=3,
            feedforward_channels=96,
        )
    ),
)


def test_count():
    assert len(FILES) == 12


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_steps_and_a_prediction(path, tmp_path):
    backbone = Config.fromfile(path).backbone
    backbone.update(SMALLER.get(path.stem, {}))
    torch.manual_seed(0)
    model = MODELS.build(tiny_cfg(TASKS, backbone=backbone))
    model.init_weights()
    strides = STRIDES.get(path.stem, (4, 8, 16, 32))
    assert tuple(model.neck.fusion.in_strides) == strides
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batch = scene_batch([['semseg'], ['depth']], (64, 96), TASKS)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    model.train()
    for _ in range(3):
        data = model.data_preprocessor(batch, True)
        loss = sum(model.loss(**data).values())
        assert loss.isfinite()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moved = [
        not torch.equal(p, start[n])
        for n, p in model.named_parameters()
        if n.startswith('backbone.')
    ]
    # Some have parts that serve classification alone.
    assert sum(moved) > 0.9 * len(moved)
    (sample,) = model.eval().test_step(scene_batch([[]], (48, 80), TASKS))
    assert sample.pred_maps.semseg.shape == (1, 48, 80)
    # Weights from a local file, as ImageNet's come.
    file = tmp_path / 'weights.pth'
    prefix = '' if 'mmseg.' in backbone.type else 'backbone.'
    weights = model.backbone.state_dict()
    torch.save(
        dict(state_dict={prefix + k: v for k, v in weights.items()}), file
    )
    backbone.init_cfg = dict(
        type='Pretrained', checkpoint=str(file), prefix=prefix or None
    )
    other = MODELS.build(tiny_cfg(TASKS, backbone=backbone))
    other.init_weights()
    for name, value in other.backbone.state_dict().items():
        assert torch.equal(value, weights[name]), name


@pytest.fixture
def log(caplog):
    """What mmengine's loggers say."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        yield caplog
    logger.removeHandler(caplog.handler)


def resnet18(checkpoint, **init_cfg):
    """The network of ``resnet18.py`` with weights of a file, initialised."""
    backbone = Config.fromfile(ROOT / 'configs/_base_/backbones/resnet18.py')
    # As --cfg-options sets it.
    backbone.merge_from_dict(
        {
            'backbone.init_cfg.type': 'Pretrained',
            'backbone.init_cfg.checkpoint': str(checkpoint),
            **{f'backbone.init_cfg.{k}': v for k, v in init_cfg.items()},
        }
    )
    model = MODELS.build(tiny_cfg(TASKS, backbone=backbone.backbone))
    model.init_weights()
    return model.backbone.state_dict()


def test_weights_of_torchvision(tmp_path, log):
    file = tmp_path / 'resnet18.pth'
    weights = torchvision.models.resnet18().state_dict()
    torch.save(weights, file)
    found = resnet18(file)
    assert set(weights) - set(found) == {'fc.weight', 'fc.bias'}
    for name, value in found.items():
        assert torch.equal(value, weights[name]), name
    assert f'120 of 120 tensors are loaded from {file}' in log.text


def test_weights_of_mmpretrain(tmp_path, log):
    """What is missing or of another shape is named; where nothing fits, the
    run stops.
    """
    file = tmp_path / 'resnet18.pth'
    weights = torchvision.models.resnet18().state_dict()
    state = {f'backbone.{k}': v for k, v in weights.items()}
    state['head.fc.weight'] = state.pop('backbone.fc.weight')
    del state['backbone.layer4.1.bn2.bias']
    state['backbone.conv1.weight'] = torch.zeros(64, 1, 7, 7)
    torch.save(dict(state_dict=state), file)
    found = resnet18(file, prefix='backbone.')
    assert torch.equal(found['layer1.0.conv1.weight'],
                       weights['layer1.0.conv1.weight'])  # fmt: skip
    assert (
        f'model.backbone: 118 of 120 tensors are loaded from {file}; not in '
        'it: layer4.1.bn2.bias; of another shape: conv1.weight (64, 1, 7, 7) '
        'for (64, 3, 7, 7)' in log.text
    )
    told = r"fits under prefix=''. The file has .*: set prefix='backbone\.'"
    with pytest.raises(ValueError, match=told):
        resnet18(file)
    torch.save(weights, file)
    with pytest.raises(ValueError, match='needs conv1.*: leave prefix out'):
        resnet18(file, prefix='backbone.')


def test_what_is_no_feature_map_is_named():
    with pytest.raises(ValueError, match=r'model\.neck\.in_strides=\[4\] do'):
        MODELS.build(tiny_cfg(TASKS, neck=dict(in_strides=[4])))
    vit = Config.fromfile(ROOT / 'configs/_base_/backbones/vit_base.py')
    backbone = dict(vit.backbone, out_type='cls_token',
                    arch=SMALLER['vit_base']['arch'])  # fmt: skip
    with pytest.raises(ValueError, match='set its out_indices, or out_type'):
        MODELS.build(tiny_cfg(TASKS, backbone=backbone))
