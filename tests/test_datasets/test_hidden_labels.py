"""Hidden labels are never read: no run opens their files, and garbage in
them changes no bit of it.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmprotomtl.datasets import NYUv2Dataset
from mmprotomtl.testing import PLAIN, tiny_cfg
from tests.conftest import ROOT

LEAF = 'configs/protomtl/protomtl_r18_1xb8-20e_nyuv2-96x128-onelabel.py'
FRAMES = 16
H, W = 32, 48
LOAD = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
]
PACK = dict(type='PackMultiTaskInputs')
FOLDERS = dict(semseg='label', depth='depth', normals='normal')
TASKS = dict(semseg=dict(num_classes=13), depth={}, normals={})


class Opened:
    """The files below a folder that Python opens while it is switched on."""

    def __init__(self) -> None:
        self.root: Path | None = None
        self.paths: set[str] = set()
        sys.addaudithook(self)

    def __call__(self, event: str, args: tuple) -> None:
        if self.root is None or event != 'open':
            return
        path = Path(str(args[0]))
        if path.is_relative_to(self.root):
            self.paths.add(str(path.relative_to(self.root)))


#: One for all tests: what listens to Python cannot be taken away again.
OPENED = Opened()


@pytest.fixture
def opened(tmp_path):
    OPENED.root, OPENED.paths = tmp_path, set()
    yield OPENED.paths
    OPENED.root = None


def tree(root, number=4):
    """The form of MTAN, of noise."""
    rng = np.random.default_rng(0)
    for folder in ('image', *FOLDERS.values()):
        (root / 'train' / folder).mkdir(parents=True)
    for i in range(number):
        normal = rng.normal(size=(H, W, 3))
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        arrays = dict(
            image=rng.random((H, W, 3)),
            label=rng.integers(-1, 13, (H, W)).astype(float),
            depth=rng.uniform(1, 4, (H, W, 1)),
            normal=normal,
        )
        for folder, array in arrays.items():
            np.save(root / 'train' / folder / f'{i}.npy', array)
    return str(root)


def used_files(name, mask):
    """What a run may open: the images, and the labels that are not hidden."""
    return {
        f'{name}/train/{folder}/{sample}.npy'
        for sample, row in mask.labelled.items()
        for folder in ('image', *(FOLDERS[task] for task in row))
    }


@pytest.mark.parametrize(
    'how',
    [
        dict(partial_labels='one-label', pipeline=LOAD),
        dict(partial_labels='FILE', pipeline=LOAD),
        dict(partial_labels=dict(protocol='ratio', ratio=0.4), pipeline=LOAD),
        dict(
            pipeline=[
                *LOAD, dict(type='PartialAnnotation', protocol='one-label'),
            ]
        ),
        dict(
            pipeline=[
                dict(type='PartialAnnotation', protocol='one-label'), *LOAD,
            ],
            filter_cfg=dict(drop_unlabelled=True),
            holdout=dict(fraction=0.5),
        ),
    ],
)  # fmt: skip
def test_no_hidden_file_is_opened(tmp_path, opened, how):
    root = tree(tmp_path / 'a')
    if how.get('partial_labels') == 'FILE':
        table = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]])
        torch.save(dict(labels_weights=table), tmp_path / 'mask.pth')
        how = dict(how, partial_labels=str(tmp_path / 'mask.pth'))
    opened.clear()
    data = NYUv2Dataset(data_root=root, **how)
    opened.discard('mask.pth')
    assert not opened
    for i in range(len(data)):
        data[i]
    kept = {data.get_data_info(i)['sample_id'] for i in range(len(data))}
    files = used_files('a', data.label_mask)
    assert 0 < len(files) < 4 * len(FOLDERS) + 4
    assert opened == {f for f in files if Path(f).stem in kept}


def test_no_run_opens_a_hidden_file(tmp_path, opened, monkeypatch):
    """Two data sets as one, in a wrapper of mmengine, one mask as a setting
    and one as a step behind the loader; the hidden files are damaged, too.
    """
    # mmengine formats the config several times, which takes most of the time.
    monkeypatch.setattr(
        'yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)
    )
    steps = [*LOAD, PACK]
    seen = dict(type='PartialAnnotation', protocol='random-label', seed=3)
    parts = [
        dict(
            data_root=tree(tmp_path / 'a'), pipeline=steps,
            partial_labels=dict(protocol='one-label', seed=1),
        ),
        dict(
            data_root=tree(tmp_path / 'b'), pipeline=[*LOAD, seen, PACK]
        ),
    ]  # fmt: skip
    expected = set()
    for name, part in zip('ab', parts, strict=True):
        mask = NYUv2Dataset(tasks=TASKS, **part).label_mask
        expected |= used_files(name, mask)
    for path in sorted(tmp_path.glob('[ab]/train/*/*.npy')):
        if str(path.relative_to(tmp_path)) not in expected:
            path.write_bytes(b'hidden')
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    kind = dict(type='NYUv2Dataset', tasks=TASKS)
    cfg.merge_from_dict(
        dict(
            work_dir=str(tmp_path / 'run'),
            model=tiny_cfg(TASKS, **PLAIN),
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                sampler=dict(type='SeededSampler', shuffle=True),
                dataset=dict(
                    type='RepeatDataset',
                    times=1,
                    dataset=dict(
                        type='MultiTaskConcatDataset',
                        datasets=[dict(kind, **part) for part in parts],
                    ),
                ),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=2),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        )
    )
    opened.clear()
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 4
    assert {f for f in opened if f.endswith('.npy')} == expected
    assert len(expected) < 8 * (1 + len(FOLDERS))
    masks = runner.train_dataloader.dataset.metainfo['label_mask']['parts']
    assert [mask['protocol'] for mask in masks] == [
        'one-label',
        'random-label',
    ]
    assert [mask['seed'] for mask in masks] == [1, 3]


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
            'train_dataloader.dataset.derived_labels='
            f'{damage == "deleted"}',
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
