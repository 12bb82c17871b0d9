"""A task of a user's own: nothing of the package has to know its name."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmprotomtl.datasets import SyntheticScenesDataset
from mmprotomtl.registry import DATASETS, TASK_MEASURES, TASKS
from mmprotomtl.tasks import Task, masked_mean
from mmprotomtl.testing import tiny_run


@pytest.fixture
def invented():
    """The angle to the floor, -1 .. 1, learnt by a squared error."""

    @TASKS.register_module(name='upness')
    class UpnessTask(Task):
        label_dtype: ClassVar[type] = np.float32
        invalid: ClassVar[float] = -9.0
        metric_directions: ClassVar[dict] = {'mse': False}
        default_metric: ClassVar[str] = 'mse'
        out_channels = 1

        def check_values(self, label, path):
            return label.astype(np.float32)

        def value_map(self, flip=None, angle=0.0, scale=1.0):
            return None

        def loss(self, logits, label):
            error = (logits[:, 0] - label[:, 0]).square()
            return masked_mean(error, self.valid(label))

        def predict(self, logits):
            return logits.tanh()

        def default_measures(self):
            return [dict(type='SquaredError')]

        def draw(self, value):
            gray = ((value[0].clip(-1, 1) + 1) * 127).astype(np.uint8)
            return np.stack([gray, gray, gray], 2)

    @TASK_MEASURES.register_module()
    class SquaredError:
        def statistics(self, pred, label, valid):
            error = (pred[0] - label[0])[valid].double().square()
            return torch.stack([valid.sum().double(), error.sum()])

        def compute(self, total):
            return dict(mse=total[1] / total[0])

    @DATASETS.register_module()
    class ScenesWithUpness(SyntheticScenesDataset):
        METAINFO: ClassVar[dict] = dict(
            tasks=dict(
                **SyntheticScenesDataset.METAINFO['tasks'], upness=dict()
            )
        )

        def load_data_list(self):
            samples = super().load_data_list()
            for sample in samples:
                normals = sample['labels']['normals']
                sample['labels']['upness'] = UpFile(normals)
            return samples

    yield
    for registry, name in (
        (TASKS, 'upness'),
        (TASK_MEASURES, 'SquaredError'),
        (DATASETS, 'ScenesWithUpness'),
    ):
        registry.module_dict.pop(name)


class UpFile:
    def __init__(self, normals):
        self.normals = normals
        self.path = f'{normals.path}#up'

    def load(self):
        return -self.normals.load()[..., 1]


def test_it_trains_evaluates_and_is_drawn(invented, tmp_path):
    tasks = dict(semseg=dict(num_classes=7), upness=dict(loss_weight=2.0))
    cfg = Config.fromfile('configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run(tasks))
    cfg.work_dir = str(tmp_path)
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.num_workers = 0
        loader.persistent_workers = False
        loader.dataset.type = 'ScenesWithUpness'
        loader.dataset.num_scenes = 8
    cfg.test_dataloader.dataset.split = 'train'
    cfg.train_cfg.max_epochs = 30
    cfg.optim_wrapper.optimizer.lr = 2e-3
    cfg.default_hooks.checkpoint.interval = 30
    cfg.default_hooks.visualization.out_dir = str(tmp_path / 'pictures')
    cfg.custom_hooks.append(
        dict(type='SavePredictionsHook', out_dir=str(tmp_path / 'out'))
    )
    runner = Runner.from_cfg(cfg)
    before = runner.test()['upness/mse']
    runner.train()
    after = runner.test()['upness/mse']
    assert after < 0.7 * before
    history = runner.message_hub.get_scalar('train/upness.loss').data[0]
    assert history[-2:].mean() < history[:2].mean()
    pictures = list((tmp_path / 'pictures').glob('*.png'))
    assert len(pictures) == 8
    saved = np.load(tmp_path / 'out' / 'upness' / '0.npy')
    assert saved.shape == (1, 32, 48)
