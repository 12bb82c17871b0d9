"""A data set that labels what the network does not learn."""

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmprotomtl.engine import load_config
from mmprotomtl.testing import PLAIN, TASKS, tiny_cfg

KEPT = dict(semseg=TASKS['semseg'], depth={})


@pytest.fixture
def cfg(tiny_config, tmp_path):
    """Two parts, the second with labels of normals too."""
    cfg = Config.fromfile(tiny_config)
    cfg.work_dir = str(tmp_path)
    cfg.tasks = KEPT
    cfg.model = tiny_cfg(KEPT, **PLAIN)
    part = dict(cfg.train_dataloader.dataset, num_scenes=4)
    cfg.train_dataloader.dataset = dict(
        type='MultiTaskConcatDataset',
        datasets=[
            dict(part, tasks=KEPT),
            dict(part, tasks={**KEPT, 'normals': {}}),
        ],
    )
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.test_dataloader.dataset.tasks = KEPT
    return cfg


def test_a_config_that_says_it_is_refused(cfg):
    place = r'train_dataloader\.dataset\.datasets\.1\.tasks names .*normals'
    with pytest.raises(ValueError, match=place):
        load_config(cfg)


def test_a_run_of_another_tool_is_refused(cfg):
    """One that builds data and model without load_config."""
    place = (
        r'train_dataloader\.dataset\.datasets\.1\.tasks\.normals: the model'
    )
    with pytest.raises(ValueError, match=place):
        Runner.from_cfg(cfg).train()


def test_labels_that_nobody_asked_for_are_left_out(cfg):
    """Where a part names no tasks, it gives those of the run that it has."""
    for part in cfg.train_dataloader.dataset.datasets:
        del part['tasks']
    loader = load_config(cfg).train_dataloader
    data = Runner.build_dataloader(loader).dataset
    assert list(data.tasks) == ['depth', 'semseg']
    seen = [item['data_samples'].gt_maps.keys() for item in data]
    assert {name for names in seen for name in names} == set(KEPT)
