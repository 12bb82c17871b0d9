from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmprotomtl.engine.task_check_hook import compare_tasks
from mmprotomtl.tasks import build_tasks


@pytest.fixture
def runner(tiny_config, tmp_path):
    def build(options):
        cfg = Config.fromfile(tiny_config)
        cfg.work_dir = str(tmp_path)
        cfg.train_dataloader.num_workers = 0
        cfg.train_dataloader.persistent_workers = False
        cfg.merge_from_dict(options)
        return Runner.from_cfg(cfg)

    return build


def test_a_task_that_sees_no_label_stops_the_run(runner):
    options = {
        'train_dataloader.dataset.partial_labels.tasks': [
            'semseg', 'sal', 'human_parts', 'depth', 'edge',
        ],
    }  # fmt: skip
    with pytest.raises(RuntimeError, match='no valid label of normals in'):
        runner(options).train()


def test_tasks_of_model_and_data_have_to_agree(runner):
    options = {'model.tasks.semseg.num_classes': 9}
    with pytest.raises(
        ValueError, match='is 9 in the model, but 7 in train_d'
    ):
        runner(options).train()
    options = {'model.tasks.flow': dict(type='depth')}
    with pytest.raises(ValueError, match=r'model\.tasks\.flow: train_data'):
        runner(options).train()
    with pytest.raises(ValueError, match=r'model\.tasks\.flow: test_data'):
        runner(options).test()


def test_tasks_that_mean_different_things():
    """Depth and disparity, weights of a loss that are the run's alone."""
    ours = build_tasks(dict(depth=dict(loss_weight=3)))
    compare_tasks(ours, SimpleNamespace(tasks=build_tasks(dict(depth={}))), '')
    theirs = build_tasks(dict(depth=dict(unit='disparity')))
    with pytest.raises(
        ValueError,
        match=r'tasks\.depth\.unit is .* in the model, but .* in val',
    ):
        compare_tasks(ours, SimpleNamespace(tasks=theirs), 'val_dataloader')
