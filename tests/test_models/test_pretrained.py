"""Pretrained weights of any part of a network, not of the backbone alone."""

import logging

import pytest
import torch
from mmengine.logging import MMLogger

from mmprotomtl.registry import MODELS
from mmprotomtl.testing import PLAIN, tiny_cfg

TASKS = dict(semseg=dict(num_classes=7), depth={})


@pytest.fixture
def log(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        yield caplog
    logger.removeHandler(caplog.handler)


def built(part, init_cfg):
    """A network of which a part has an init_cfg, initialised."""
    cfg = tiny_cfg(TASKS, **PLAIN)
    (cfg if part == 'model' else cfg[part]).update(init_cfg=init_cfg)
    model = MODELS.build(cfg)
    model.init_weights()
    return model


@pytest.mark.parametrize('part', ['model', 'backbone', 'neck', 'head'])
@pytest.mark.parametrize('as_list', [False, True])
def test_weights_of_a_part(tmp_path, log, part, as_list):
    torch.manual_seed(1)
    source = MODELS.build(tiny_cfg(TASKS, **PLAIN))
    if part != 'model':
        source = getattr(source, part)
    weights = source.state_dict()
    path = tmp_path / 'a.pth'
    init = dict(type='Pretrained', checkpoint=str(path))
    init = [init] if as_list else init
    torch.save({f'other.{n}': value for n, value in weights.items()}, path)
    key = 'model' if part == 'model' else rf'model\.{part}'
    with pytest.raises(ValueError, match=rf"^{key}\.init_cfg: .*'other\."):
        built(part, init)
    torch.save(dict(state_dict=weights), path)
    model = built(part, init)
    found = (model if part == 'model' else getattr(model, part)).state_dict()
    for name, value in weights.items():
        assert torch.equal(found[name], value), name
    total = len(weights)
    assert f'{total} of {total} tensors are loaded from {path}' in log.text
