"""What of a training reaches the log and the backends."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.runner import Runner
from mmengine.visualization import BaseVisBackend
from mmengine.visualization.vis_backend import MLflowVisBackend

from mmprotomtl.engine import LabelledLossHook, MultiTaskVisualizationHook
from mmprotomtl.models import MultiTaskSegmentor
from mmprotomtl.testing import tiny_run
from mmprotomtl.visualization import MultiTaskLocalVisualizer
from tests.conftest import ROOT

TASKS = dict(semseg=dict(num_classes=7), depth={})
#: mmengine's LogProcessor takes means over so many values.
WINDOW = 10


@VISBACKENDS.register_module(force=True)
class Recorder(BaseVisBackend):
    """Stands in for WandB, Aim and ClearML: keeps what it is given."""

    def __init__(self, save_dir=None):
        self.images, self.scalars = [], []

    def _init_env(self):
        pass

    @property
    def experiment(self):
        return self

    def add_config(self, config, **_):
        pass

    def add_image(self, name, image, step=0, **_):
        self.images.append((name, image, step))

    def add_scalars(self, scalar_dict, step=0, file_path=None, **_):
        self.scalars.append((step, dict(scalar_dict)))


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Four epochs of six steps, of which each has one or two labels, with
    accumulated gradients: the place, the runner, the losses and the labels.
    """
    place = tmp_path_factory.mktemp('logged')
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run(TASKS))
    cfg.work_dir = cfg.experiment_name = str(place)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=4, val_interval=1)
    cfg.optim_wrapper.accumulative_counts = 2
    train, test = cfg.train_dataloader, cfg.test_dataloader
    train.update(num_workers=0, persistent_workers=False, batch_size=2)
    train.dataset.num_scenes = 12
    cfg.val_dataloader, cfg.val_evaluator = test, cfg.test_evaluator
    cfg.val_cfg = dict()
    cfg.default_hooks.visualization.update(val_interval=2, val_images=2)
    cfg.default_hooks.checkpoint.interval = 100
    cfg.visualizer.name = str(place)
    cfg.visualizer.vis_backends = [
        dict(type='LocalVisBackend'), dict(type='Recorder'),
    ]  # fmt: skip
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        pass
    else:
        cfg.visualizer.vis_backends.append(dict(type='TensorboardVisBackend'))
    steps = []
    inner = MultiTaskSegmentor.loss

    def loss(self, inputs, data_samples):
        found = inner(self, inputs, data_samples)
        steps.append(
            {
                name: float(found[f'{name}.loss'].detach())
                for name in TASKS
                if any(s.label(name) is not None for s in data_samples)
            }
        )
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MultiTaskSegmentor, 'loss', loss)
        runner = Runner.from_cfg(cfg)
        runner.train()
    return SimpleNamespace(place=place, runner=runner, steps=steps)


def backend(trained, kind):
    (found,) = [
        b for b in trained.runner.visualizer._vis_backends.values()
        if isinstance(b, kind)
    ]  # fmt: skip
    return found


def test_losses_without_a_label_are_not_logged(trained):
    """The log has the mean of the last values that labels were seen for."""
    assert len(trained.steps) == 24
    missing = [n for step in trained.steps for n in TASKS if n not in step]
    assert len(missing) > 4
    (file,) = trained.place.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows = {row['step']: row for row in rows if 'tae.loss' in row}
    assert sorted(rows) == list(range(1, 25))
    recorded = {
        step: row
        for step, row in backend(trained, Recorder).scalars
        if 'tae.loss' in row
    }
    for number, row in rows.items():
        for name in TASKS:
            seen = [s[name] for s in trained.steps[:number] if name in s]
            assert (f'{name}.loss' in row) == bool(seen)
            assert (f'{name}.loss' in recorded[number]) == bool(seen)
            if seen:
                mean = np.mean(seen[-WINDOW:])
                assert row[f'{name}.loss'] == pytest.approx(mean, rel=1e-5)
    first = [f'{name}.loss' in rows[1] for name in TASKS]
    assert first == [name in trained.steps[0] for name in TASKS]


def test_codebook_and_affinities_are_curves(trained):
    found = backend(trained, Recorder).scalars
    named = {}
    for step, row in found:
        for key in row:
            named.setdefault(key, []).append(step)
    for key in ('codebook_usage', 'codebook_perplexity'):
        (full,) = [k for k in named if k.startswith(key)] or [None]
        assert full and named[full] == list(range(1, 25)), sorted(named)
    assert named['affinity/depth/semseg'] == list(range(1, 25))


def test_pictures_of_validations(trained):
    """Every second epoch, the first two images; affinities each time."""
    images = backend(trained, Recorder).images
    assert [(name, step) for name, _, step in images] == [
        ('affinity', 1), ('val_0', 2), ('val_1', 2), ('affinity', 2),
        ('affinity', 3), ('val_0', 4), ('val_1', 4), ('affinity', 4),
    ]  # fmt: skip
    files = {p.name for p in trained.place.glob('*/vis_data/vis_image/*')}
    assert files == {f'{name}_{step}.png' for name, _, step in images}
    # The photo of the scene, four times as large.
    scene = trained.runner.val_dataloader.dataset[0]['inputs']
    photo = scene.numpy().transpose(1, 2, 0)[..., ::-1]
    cell = images[1][1][44:172, 10:202]
    assert np.array_equal(cell[::4, ::4], photo)


def test_tensorboard_shows_them(trained):
    module = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator'
    )
    (folder,) = trained.place.glob('*/vis_data')
    reader = module.EventAccumulator(str(folder), {'images': 0, 'scalars': 0})
    reader.Reload()
    tags = reader.Tags()
    assert set(tags['images']) == {'affinity', 'val_0', 'val_1'}
    assert [e.step for e in reader.Images('val_1')] == [2, 4]
    event = reader.Images('val_0')[1]
    (expected,) = [
        image
        for name, image, step in backend(trained, Recorder).images
        if (name, step) == ('val_0', 4)
    ]
    assert (event.height, event.width) == expected.shape[:2]
    assert 'affinity/depth/depth' in tags['scalars']
    assert len(reader.Scalars('tae.loss')) == 24


def test_mlflow_gets_names_of_files(tmp_path, monkeypatch):
    """It stops at a picture without a format, and knows no steps."""
    found = []
    monkeypatch.setattr(
        MLflowVisBackend, 'add_image',
        lambda self, name, image, step: found.append((name, step)),
    )  # fmt: skip
    visualizer = MultiTaskLocalVisualizer(
        name=str(tmp_path), tasks=TASKS, save_dir=str(tmp_path),
        vis_backends=[dict(type='MLflowVisBackend'), dict(type='Recorder')],
    )  # fmt: skip
    visualizer.add_image('val_0', np.zeros((4, 4, 3), np.uint8), 3)
    assert found == [('val_0_3.png', 3)]
    (other,) = [
        b for b in visualizer._vis_backends.values() if isinstance(b, Recorder)
    ]
    assert [(name, step) for name, _, step in other.images] == [('val_0', 3)]


@pytest.mark.parametrize('key', ['val_interval', 'val_images'])
def test_numbers_of_pictures_that_are_refused(key):
    with pytest.raises(ValueError, match=f'visualization.{key}=0'):
        MultiTaskVisualizationHook(**{key: 0})


def test_a_loss_that_is_no_number_stays(monkeypatch):
    """Whoever has it knows the images; others' means are without it."""
    counts = {'a.loss': torch.tensor(0), 'b.loss': torch.tensor(0)}
    runner = SimpleNamespace(
        model=SimpleNamespace(losses_counted=lambda: counts)
    )
    losses = {
        key: torch.tensor(value)
        for key, value in (
            ('loss', torch.nan), ('a.loss', 0.0), ('b.loss', torch.nan),
            ('tae.loss', 2.0),
        )
    }  # fmt: skip
    LabelledLossHook().after_train_iter(runner, 0, None, losses)
    assert list(losses) == ['loss', 'b.loss', 'tae.loss']
    assert losses['tae.loss'] == 2 and losses['b.loss'].isnan()
