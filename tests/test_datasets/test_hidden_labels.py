"""Hidden labels are never read: garbage in them changes no bit of a run."""

import shutil

import numpy as np
import pytest
import torch

LEAF = 'configs/protomtl/protomtl_r18_1xb8-20e_nyuv2-96x128-onelabel.py'
FRAMES = 16


@pytest.mark.parametrize('damage', ['garbage', 'deleted'])
def test_training_is_bit_identical(nyuv2, tool, tmp_path, damage):
    mask = torch.load(nyuv2 / 'onelabel.pth')['labels_weights'].numpy()
    worse = tmp_path / 'damaged'
    shutil.copytree(nyuv2 / 'train', worse / 'train')
    shutil.copytree(nyuv2 / 'val', worse / 'val')
    folders = ('label', 'depth', 'normal')
    hidden = 0
    for i, row in enumerate(mask):
        for folder, labelled in zip(folders, row, strict=True):
            if labelled:
                continue
            hidden += 1
            file = worse / 'train' / folder / f'{i}.npy'
            if damage == 'deleted':
                file.unlink()
            else:
                file.write_bytes(b'\x93NUMPY garbage')
    assert hidden == 2 * len(mask)
    results = []
    for name, root in (('clean', nyuv2), ('damaged', worse)):
        work_dir = tmp_path / f'run_{name}'
        tool(
            'tools/train.py', LEAF, '--work-dir', work_dir, '--cfg-options',
            f'train_dataloader.dataset.data_root={root}',
            'train_dataloader.dataset.partial_labels.mask_file='
            f'{nyuv2 / "onelabel.pth"}',
            f'train_dataloader.dataset.indices={FRAMES}',
            f'val_dataloader.dataset.data_root={root}',
            'val_dataloader.dataset.indices=1',
            'train_cfg.max_epochs=2', 'model.neck.channels=16',
            'model.neck.quantizer.code_dim=16',
        )  # fmt: skip
        state = torch.load(work_dir / 'epoch_2.pth', weights_only=False)
        results.append(state['state_dict'])
    clean, damaged = results
    for key, value in clean.items():
        assert torch.equal(value, damaged[key]), key


def test_a_visible_damaged_label_stops_the_run(nyuv2, tool, tmp_path):
    shutil.copytree(nyuv2 / 'train', tmp_path / 'train')
    shutil.copytree(nyuv2 / 'val', tmp_path / 'val')
    file = tmp_path / 'train' / 'label' / '0.npy'
    np.save(file, np.full((48, 64), 77.0))
    done = tool(
        'tools/train.py', LEAF, '--work-dir', tmp_path / 'run',
        '--cfg-options',
        f'train_dataloader.dataset.data_root={tmp_path}',
        'train_dataloader.dataset.partial_labels.mask_file='
        f'{nyuv2 / "onelabel.pth"}',
        f'val_dataloader.dataset.data_root={tmp_path}',
        'train_dataloader.dataset.indices=4',
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f'{file}: label values [77.0]' in done.stdout
    assert 'allowed are 0 .. 12 and 255' in done.stdout
