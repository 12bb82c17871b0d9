"""The two command lines, as a user types them, on real frames."""

import json

import cv2
import numpy as np
import pytest
import torch

METHOD = 'protomtl/protomtl_r18_1xb8-20e_nyuv2-96x128-onelabel.py'
SMALL = (
    'train_dataloader.dataset.indices=24',
    'val_dataloader.dataset.indices=5',
    'test_dataloader.dataset.indices=5',
    'train_cfg.max_epochs=1',
)


@pytest.fixture(scope='module')
def place(nyuv2, tmp_path_factory):
    """A folder with ``data/nyuv2``, and a run of the method in it."""
    root = tmp_path_factory.mktemp('user')
    (root / 'data').mkdir()
    (root / 'data' / 'nyuv2').symlink_to(nyuv2)
    return root


@pytest.fixture
def cli(tool, place):
    from tests.conftest import ROOT

    def run(name, config, *args, **kwargs):
        return tool(
            ROOT / 'tools' / name, ROOT / 'configs' / config, *args,
            cwd=place, **kwargs,
        )  # fmt: skip

    return run


def test_train_and_test(cli, place):
    done = cli('train.py', METHOD, '--cfg-options', *SMALL)
    work_dir = place / 'work_dirs' / METHOD.split('/')[1][:-3]
    assert 'sha256 17c5f1fb959b465b56a88da10a985ff2' in done.stdout
    checkpoint = work_dir / 'epoch_1.pth'
    assert checkpoint.exists()
    cli(
        'test.py', METHOD, checkpoint, '--work-dir', place / 'tested',
        '--out', place / 'out', '--show-dir', place / 'show',
        '--cfg-options', *SMALL,
    )  # fmt: skip
    report = json.loads((place / 'tested' / 'metrics.json').read_text())
    assert set(report['metrics']) >= {
        'semseg/mIoU', 'depth/RMSE', 'depth/absErr', 'normals/mErr',
    }  # fmt: skip
    assert report['label_mask']['labels'] == dict(
        semseg=265, depth=265, normals=265
    )
    assert report['label_mask']['sha256'].startswith('17c5f1fb')
    assert report['seed'] == 0
    assert report['test_data']['images'] == 5
    # The scores are those of the predictions that were saved.
    truth = [
        np.load(place / f'data/nyuv2/val/depth/{i}.npy')[..., 0]
        for i in range(5)
    ]
    depth = [np.load(place / f'out/depth/{i}.npy')[0] for i in range(5)]
    error = np.concatenate(
        [np.abs(p - t)[t > 0] for p, t in zip(depth, truth, strict=True)]
    )
    assert report['metrics']['depth/absErr'] == pytest.approx(
        error.mean(), rel=1e-4
    )
    classes = cv2.imread(str(place / 'out/semseg/3.png'), -1)
    assert classes.shape == (48, 64)
    assert classes.max() < 13
    picture = cv2.imread(str(place / 'show/4.png'))
    # The photo and three tasks, enlarged three times, between margins of 10.
    assert picture.shape[1] == 10 + 4 * (3 * 64 + 10)
    # Resuming a finished run trains no further.
    again = cli('train.py', METHOD, '--resume', '--cfg-options', *SMALL)
    assert 'resumed epoch: 1' in again.stdout


@pytest.mark.parametrize(
    ('options', 'labels'),
    [
        (
            'train_dataloader.dataset.partial_labels='
            'data/nyuv2/randomlabels.pth',
            392 + 408 + 385,
        ),
        # The labels that the run of all tasks would see.
        ('only_task=depth', 795),
    ],
)
def test_baselines_train(cli, tmp_path, options, labels):
    config = 'baselines/mtl_r18_1xb8-20e_nyuv2-96x128-onelabel.py'
    cli(
        'train.py', config, '--work-dir', tmp_path, '--cfg-options', *SMALL,
        options,
    )  # fmt: skip
    state = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)
    mask = state['meta']['dataset_meta']['label_mask']
    assert sum(mask['labels'].values()) == labels


def test_errors_say_what_to_do(tool, tmp_path):
    from tests.conftest import ROOT

    config = ROOT / 'configs' / METHOD
    done = tool(ROOT / 'tools/train.py', config, cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert 'data/nyuv2/train/image: no such folder' in done.stdout
    images = tmp_path / 'data/nyuv2/train/image'
    images.mkdir(parents=True)
    np.save(images / '0.npy', np.zeros((4, 4, 3)))
    done = tool(ROOT / 'tools/train.py', config, cwd=tmp_path, check=False)
    assert (
        'data/nyuv2/onelabel.pth: no such label mask file. Get' in done.stdout
    )
    done = tool(
        ROOT / 'tools/test.py', config, 'nothing.pth', cwd=tmp_path,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stdout.strip().endswith('nothing.pth: no such checkpoint')
