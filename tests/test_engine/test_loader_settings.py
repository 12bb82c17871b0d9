"""Settings of the data loaders that hang on each other."""

import pytest
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mmprotomtl.engine import load_config
from mmprotomtl.utils.old_configs import read_config


@pytest.mark.parametrize('way', ['option', 'file'])
def test_no_workers(tiny_config, way):
    """One setting is enough: those that speak of workers follow."""
    options = {'train_dataloader.num_workers': 0}
    cfg = read_config(tiny_config)
    assert cfg.train_dataloader.persistent_workers
    cfg.train_dataloader.prefetch_factor = 4
    if way == 'file':
        cfg.train_dataloader.num_workers = 0
        options = {}
    built = load_config(cfg, options).train_dataloader
    with DefaultScope.overwrite_default_scope('mmprotomtl'):
        loader = Runner.build_dataloader(built)
    assert loader.num_workers == 0 and not loader.persistent_workers
    assert next(iter(loader))['inputs'][0].shape == (3, 32, 48)
    # With workers, the settings stay.
    cfg.train_dataloader.num_workers = 1
    kept = load_config(cfg).train_dataloader
    assert kept.persistent_workers and kept.prefetch_factor == 4
