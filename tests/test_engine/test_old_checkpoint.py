"""A checkpoint and a config of commit b306e70 work as they did there."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmprotomtl.apis import MultiTaskInferencer
from mmprotomtl.scenes.renderer import render
from tests.conftest import ROOT

OLD = ROOT / 'tests' / 'data' / 'checkpoint_of_b306e70'
CHECKPOINT = OLD / 'epoch_40.pth'


@pytest.fixture
def run_tool(monkeypatch, tmp_path):
    """Runs one of our tools in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *args: object) -> None:
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')

    return run


@pytest.fixture(scope='module')
def images() -> list[np.ndarray]:
    """The four test scenes: world 2 is the test split of seed 0."""
    return [render(2, number, (48, 64)).image for number in range(4)]


@pytest.fixture(scope='module')
def outputs() -> dict[str, np.ndarray]:
    """What the old code predicted, every 8th pixel from the 4th."""
    with np.load(OLD / 'outputs.npz') as file:
        return dict(file)


@pytest.mark.parametrize('config', ['config.py', 'today.py'])
def test_the_scores_are_those_of_before(run_tool, config):
    run_tool('test.py', OLD / config, CHECKPOINT, '--work-dir', 'tested')
    expected = json.loads((OLD / 'metrics.json').read_text())
    found = json.loads(Path('tested', 'metrics.json').read_text())
    assert set(expected['metrics']) <= set(found['metrics'])
    for name, value in expected['metrics'].items():
        assert found['metrics'][name] == pytest.approx(
            value, rel=1e-6, abs=1e-6
        ), name
    # The same labels were seen, the same images scored.
    assert found['label_mask']['sha256'] == expected['label_mask']['sha256']
    assert found['label_mask']['labels'] == expected['label_mask']['labels']
    for key in ('type', 'split', 'images', 'ids'):
        assert found['test_data'][key] == expected['test_data'][key], key


def test_the_checkpoint_alone_predicts_the_same(images, outputs):
    infer = MultiTaskInferencer(weights=str(CHECKPOINT), device='cpu')
    predictions = infer(images, channel_order='rgb')['predictions']
    for name in ('depth', 'edge', 'human_parts', 'normals', 'sal', 'semseg'):
        found = np.stack([maps[name] for maps in predictions])
        assert np.allclose(
            found[..., 4::8, 4::8], outputs[name], rtol=1e-4, atol=1e-5
        ), name


def test_every_branch_has_its_own_weights(images, outputs):
    """Logits, as every pixel's best body part is the background."""
    model = MultiTaskInferencer(weights=str(CHECKPOINT), device='cpu').model
    bgr = [
        torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)
        for image in images
    ]
    batch = model.data_preprocessor(dict(inputs=bgr), training=False)
    with torch.no_grad():
        logits = model(batch['inputs'], mode='tensor')
    for name, logit in zip(model.tasks, logits, strict=True):
        assert np.allclose(
            logit[..., 4::8, 4::8].numpy(),
            outputs[f'{name}.logits'],
            rtol=1e-4,
            atol=1e-4,
        ), name


def test_the_finished_run_resumes_and_trains_no_further(run_tool):
    run_tool(
        'train.py', OLD / 'config.py', '--resume', CHECKPOINT,
        '--work-dir', 'resumed',
    )  # fmt: skip
    (log,) = Path('resumed').glob('*/*.log')
    text = log.read_text()
    assert 'resumed epoch: 40, iter: 640' in text
    assert 'Epoch(train)' not in text
    assert not list(Path('resumed').glob('*.pth'))
