"""Each backbone of ``configs/_base_/backbones`` trains and predicts."""

import pytest
import torch
from mmengine.config import Config

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
    assert len(FILES) == 11


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
