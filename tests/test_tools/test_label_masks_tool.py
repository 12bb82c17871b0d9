"""``tools/label_masks.py`` as a user types it."""

import json

import pytest
import torch
from mmengine.config import Config

from tests.conftest import ROOT

TOOL = ROOT / 'tools/label_masks.py'
NYU = ROOT / 'configs/protomtl/protomtl_r18_1xb8-20e_nyuv2-96x128-onelabel.py'


@pytest.fixture
def at(nyuv2):
    return ('--cfg-options', f'train_dataloader.dataset.data_root={nyuv2}')


def test_generate_show_verify_train(tool, tiny_config, tmp_path):
    out = tmp_path / 'mask.json'
    done = tool(
        TOOL, 'generate', tiny_config, '--protocol', 'budget', '--budget',
        'semseg=9', 'depth=3', 'edge=4', 'sal=1', 'human_parts=1', 'normals=0',
        '--seed', 3, '--out', out,
    )  # fmt: skip
    digest = json.loads(out.read_text())['sha256']
    assert f'24 images, sha256 {digest}' in done.stdout
    shown = tool(TOOL, 'show', out).stdout
    assert f'sha256 {digest}' in shown
    assert '| semseg      | 9      |' in shown
    assert 'it fits' in tool(TOOL, 'verify', out, tiny_config).stdout
    # Too many labels: refused, and nothing is written.
    other = tmp_path / 'other.json'
    done = tool(
        TOOL, 'generate', tiny_config, '--protocol', 'budget', '--budget',
        25, '--out', other, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert '25 is not allowed' in done.stdout
    assert not other.exists()
    # The same labels as those that a config draws by itself.
    drawn = tmp_path / 'drawn.json'
    tool(TOOL, 'generate', tiny_config, '--protocol', 'one-label',
         '--out', drawn)  # fmt: skip
    work_dir = tmp_path / 'run'
    tool(
        ROOT / 'tools/train.py', tiny_config, '--work-dir', work_dir,
        '--cfg-options', 'train_cfg.max_epochs=1',
    )  # fmt: skip
    trained = torch.load(work_dir / 'epoch_1.pth', weights_only=False)['meta']
    mask = trained['dataset_meta']['label_mask']
    assert mask['sha256'] == json.loads(drawn.read_text())['sha256']


def test_published(tool, nyuv2, at, shared_data):
    digest = '17c5f1fb959b465b56a88da10a985ff23111f9f2e67b4844adc9e8a2afe65237'
    shown = tool(TOOL, 'show', nyuv2 / 'onelabel.pth').stdout
    assert digest in shown
    done = tool(TOOL, 'verify', nyuv2 / 'onelabel.pth', NYU, *at)
    assert digest in done.stdout
    pascal = shared_data / 'partial_labels/pascal/new_onelabel.pth'
    done = tool(TOOL, 'verify', pascal, NYU, *at, check=False)
    assert done.returncode == 1
    (line,) = done.stdout.strip().splitlines()[-1:]
    assert line.startswith(f'refused: {pascal}: a mask of another data set')
    done = tool(TOOL, 'show', nyuv2 / 'nothing.pth', check=False)
    assert done.returncode == 1
    assert 'no such label mask' in done.stdout


def test_each_part_of_a_concatenation_has_its_own(tool, tiny_config, tmp_path):
    cfg = Config.fromfile(tiny_config)
    part = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(
        type='MultiTaskConcatDataset',
        datasets=[part, dict(part, num_scenes=5)],
    )
    config, out = tmp_path / 'two.py', tmp_path / 'mask.json'
    cfg.dump(config)
    generate = (TOOL, 'generate', config, '--protocol', 'one-label')
    done = tool(*generate, '--out', out, check=False)
    assert done.returncode == 1 and not out.exists()
    (line,) = done.stdout.strip().splitlines()[-1:]
    assert line.startswith('refused: train_dataloader.dataset consists of 2')
    assert 'datasets.0 (SyntheticScenesDataset' in line
    assert 'datasets.1 (SyntheticScenesDataset' in line
    done = tool(*generate, '--out', out, '--part', 'datasets.1')
    assert '5 images, sha256' in done.stdout
    done = tool(TOOL, 'verify', out, config, '--part', 'datasets.1')
    assert 'it fits the data set' in done.stdout
    done = tool(
        TOOL, 'verify', out, config, '--part', 'datasets.0', check=False
    )
    assert 'the mask has 5 images, the data set 24' in done.stdout
