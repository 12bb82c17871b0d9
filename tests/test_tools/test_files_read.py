"""Which files a training run opens, as the operating system reports it.

Linux tells (inotify) of every open of a file below a folder, by whatever
process and library: loader workers, cv2, Pillow's and scipy's C code. So this
finds readings that an audit hook of Python would not. The expected files are
written down here by hand; docs/label_masks.md has them as a table.
"""

import ctypes
import os
import re
import runpy
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
from PIL import Image

from mmprotomtl.datasets.synthetic_scenes import SceneFile
from mmprotomtl.label_masks import LabelMask, write_label_mask
from mmprotomtl.registry import DATASETS
from mmprotomtl.testing import PLAIN, tiny_cfg
from tests.conftest import ROOT
from tests.test_tools import test_every_dataset as every
from tests.test_tools.test_every_dataset import (
    CITYSCAPES,
    SAMPLES,
    SCENES,
    small,
    use,
)

# Fixtures: trees that are made.
cityscapes, folders = every.cityscapes, every.folders
pytestmark = pytest.mark.skipif(
    sys.platform != 'linux', reason='inotify is of Linux'
)
IN_OPEN, IN_Q_OVERFLOW, IN_ISDIR = 0x20, 0x4000, 0x40000000
EVENT = struct.Struct('iIII')


class Watch:
    """Lists the files below a folder that any process opens meanwhile."""

    def __init__(self, root):
        self.root = Path(root)
        self.opened = set()

    def __enter__(self):
        libc = ctypes.CDLL(None, use_errno=True)
        self._queue = libc.inotify_init1(os.O_CLOEXEC)
        assert self._queue >= 0, os.strerror(ctypes.get_errno())
        self._folders = {}
        for folder, _, _ in os.walk(self.root):
            number = libc.inotify_add_watch(
                self._queue, os.fsencode(folder), IN_OPEN
            )
            assert number >= 0, os.strerror(ctypes.get_errno())
            self._folders[number] = Path(folder)
        # Its opening, the last event, ends the reading.
        self._end = self.root / '.end'
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_):
        self._end.touch()
        self._reader.join()
        os.close(self._queue)
        self._end.unlink()

    def _read(self):
        while True:
            content, start = os.read(self._queue, 1 << 16), 0
            while start < len(content):
                number, mask, _, size = EVENT.unpack_from(content, start)
                start += EVENT.size + size
                name = content[start - size : start].rstrip(b'\0').decode()
                if mask & IN_Q_OVERFLOW:
                    self.opened.add('events were lost')
                elif name and not mask & IN_ISDIR:
                    file = self._folders[number] / name
                    if file == self._end:
                        return
                    self.opened.add(str(file.relative_to(self.root)))


def test_the_watch_sees_every_way_to_open(tmp_path):
    """Native readers and other processes; and no mere look at a folder."""
    pixels = np.full((4, 4), 7, np.uint8)
    folder = tmp_path / 'data' / 'deep'
    folder.mkdir(parents=True)
    for name in ('cv2', 'pillow', 'descriptor', 'process', 'nothing'):
        Image.fromarray(pixels).save(folder / f'{name}.png')
    np.save(folder / 'mapped.npy', pixels)
    scipy.io.savemat(folder / 'scipy.mat', dict(a=pixels))
    with Watch(tmp_path / 'data') as watch:
        assert (cv2.imread(str(folder / 'cv2.png'), 0) == 7).all()
        with Image.open(folder / 'pillow.png') as picture:
            picture.load()
        np.load(folder / 'mapped.npy', mmap_mode='r')
        scipy.io.loadmat(folder / 'scipy.mat')
        os.close(os.open(folder / 'descriptor.png', os.O_RDONLY))
        subprocess.run(['cat', folder / 'process.png'], capture_output=True)
        assert (folder / 'nothing.png').stat().st_size
        assert len(list(folder.iterdir())) == 7
    assert watch.opened == {
        'deep/cv2.png', 'deep/pillow.png', 'deep/mapped.npy',
        'deep/scipy.mat', 'deep/descriptor.png', 'deep/process.png',
    }  # fmt: skip


#: Data set -> place of its image and of the label of each task.
PLACES = dict(
    NYUDv2=dict(
        image='images/{}.png', semseg='segmentation/{}.png',
        depth='depth/{}.npy', normals='normals/{}.png', edge='edge/{}.png',
    ),
    NYUD_MT=dict(
        image='images/{}.jpg', semseg='segmentation/{}.png',
        depth='depth/{}.npy', normals='normals/{}.npy', edge='edge/{}.npy',
    ),
    PASCAL=dict(
        image='JPEGImages/{}.jpg', semseg='semseg/VOC12/{}.png',
        human_parts='human_parts/{}.mat', sal='sal_distill/{}.png',
        normals='normals_distill/{}.png',
        edge='pascal-context/trainval/{}.mat',
    ),
    NYUv2=dict(
        image='train/image/{}.npy', semseg='train/label/{}.npy',
        depth='train/depth/{}.npy', normals='train/normal/{}.npy',
    ),
    Cityscapes=dict(
        image='train/image/{}.npy', semseg='train/label_7/{}.npy',
        depth='train/depth/{}.npy',
    ),
    folders=dict(
        image='images/{}.png', semseg='masks/{}.png', depth='depth/{}.png',
    ),
)  # fmt: skip
#: The list of the images, where there is one.
LISTS = dict(
    NYUDv2='gt_sets/train.txt',
    NYUD_MT='gt_sets/train.txt',
    PASCAL='ImageSets/Context/train.txt',
)
#: Classes of data sets that were run; the last test compares.
SEEN = set()


def files(name, rows):
    """What a run may open: its list, images, and labels of the mask.

    Normals of PASCAL are valid where the class of `LabelMap` says so, which
    is the file of which edges are made.
    """
    places = PLACES[name]
    found = {LISTS[name]} if name in LISTS else set()
    for sample, row in rows.items():
        found |= {places[task].format(sample) for task in ('image', *row)}
        if name == 'PASCAL' and 'normals' in row:
            found.add(places['edge'].format(sample))
    return found


def in_turn(samples, tasks):
    """Each task has a label of one image, by hand; all others are hidden."""
    return {
        sample: tasks[i :: len(samples)] for i, sample in enumerate(samples)
    }


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Trains an epoch by the command line, with two loader workers."""
    monkeypatch.setattr(
        'yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)
    )

    def run(cfg, mask=None, validate=False, prefix=()):
        for key in ('dataloader', 'evaluator', 'cfg'):
            for name in ('test',) if validate else ('val', 'test'):
                cfg.pop(f'{name}_{key}', None)
        cfg.train_dataloader.update(
            batch_size=1, num_workers=2, persistent_workers=True,
            drop_last=False,
        )  # fmt: skip
        # The recipe's transforms, and then a size and a network for which a
        # step is short.
        cfg.model = tiny_cfg(**PLAIN)
        del cfg.model['tasks']
        steps = cfg.train_dataloader.dataset.pipeline
        steps.insert(-1, dict(type='MultiTaskResize', scale=(64, 64)))
        if mask is not None:
            path = tmp_path / 'mask.json'
            tasks = list(cfg.tasks)
            write_label_mask(path, LabelMask(mask, tasks, 'by hand'))
            cfg.train_dataloader.dataset.partial_labels = str(path)
        cfg.dump(tmp_path / 'config.py')
        argv = [str(ROOT / 'tools/train.py'), 'config.py']
        argv += ['--work-dir', 'run']
        monkeypatch.chdir(tmp_path)
        if prefix:
            subprocess.run([*prefix, sys.executable, *argv], check=True)
            return
        monkeypatch.setattr(sys, 'argv', argv)
        runpy.run_path(argv[0], run_name='__main__')
        SEEN.add(cfg.train_dataloader.dataset.type)

    return run


def copied(source, tmp_path):
    """A copy of a tree, which no other test opens meanwhile."""
    return Path(shutil.copytree(source, tmp_path / 'data'))


@pytest.mark.parametrize('name', SAMPLES)
def test_sample_trees(train, shared_data, tmp_path, name):
    config, folder, _ = SAMPLES[name]
    root = copied(shared_data / 'layouts' / folder, tmp_path)
    cfg = small(config)
    use(cfg, data_root=str(root))
    if name in LISTS:
        samples = (root / LISTS[name]).read_text().split()
    else:
        samples = sorted(p.stem for p in (root / 'train/image').iterdir())
    rows = in_turn(samples, sorted(cfg.tasks))
    with Watch(root) as watch:
        train(cfg, rows)
    assert watch.opened == files(name, rows)
    whole = files(name, {sample: [*cfg.tasks] for sample in samples})
    assert len(whole - watch.opened) >= len(cfg.tasks)


def test_derived_labels_are_made_of_visible_ones(train, shared_data, tmp_path):
    """Of depth follow normals, and no file of normals is opened for them."""
    config, folder, _ = SAMPLES['NYUv2']
    root = copied(shared_data / 'layouts' / folder, tmp_path)
    cfg = small(config)
    use(cfg, data_root=str(root))
    cfg.train_dataloader.dataset.derived_labels = True
    rows = in_turn(['0', '1', '2'], sorted(cfg.tasks))
    with Watch(root) as watch:
        train(cfg, rows)
    assert watch.opened == files('NYUv2', rows)


@pytest.mark.parametrize('cached', [False, True])
def test_a_protocol_looks_for_people(train, shared_data, tmp_path, cached):
    """Drawing labels for PASCAL reads which images have people, of every
    image of the split, and once: then a note in the cache says it.
    """
    config, folder, _ = SAMPLES['PASCAL']
    root = copied(shared_data / 'layouts' / folder, tmp_path)
    cfg = small(config)
    use(cfg, data_root=str(root))
    part = dict(cache_dir=str(tmp_path / 'cache'), split='train')
    part['partial_labels'] = dict(protocol='budget', budget=1, seed=0)
    kind = dict(type='PASCALContextMTDataset', data_root=str(root), **part)
    cfg.train_dataloader.dataset.update(part)
    if cached:
        DATASETS.build(kind)
    with Watch(root) as watch:
        train(cfg)
    rows = DATASETS.build(kind).label_mask.labelled
    assert len(rows) == 2 and sum(map(len, rows.values())) == 5
    people = {f'human_parts/{sample}.mat' for sample in rows}
    used = files('PASCAL', rows)
    assert len(people - used) == 1
    assert watch.opened == (used if cached else used | people)


def test_cityscapes(train, cityscapes):
    cfg = small(CITYSCAPES)
    cfg.tasks = dict(semseg=dict(), depth=dict())
    use(cfg, data_root=str(cityscapes), num_classes=7)
    rows = {'0': ['depth'], '1': ['semseg'], '2': [], '3': ['semseg', 'depth']}
    with Watch(cityscapes) as watch:
        train(cfg, rows)
    assert watch.opened == files('Cityscapes', rows)


def test_an_image_folder(train, folders):
    cfg = small(SAMPLES['NYUDv2'][0])
    cfg.tasks = folders.pop('tasks')
    use(cfg, **folders)
    rows = {'0001': ['depth'], '0002': [], '0003': [], '0004': ['semseg']}
    with Watch(folders['data_root']) as watch:
        train(cfg, rows)
    assert watch.opened == files('folders', rows)


def test_images_that_are_left_out(train, shared_data, tmp_path):
    """Neither they nor their labels are opened; nor labels of tasks that are
    not trained.
    """
    root = copied(shared_data / 'layouts/NYUD_MT', tmp_path)
    cfg = small(SAMPLES['NYUD_MT'][0])
    cfg.tasks = {name: cfg.tasks[name] for name in ('depth', 'normals')}
    use(cfg, data_root=str(root), filter_cfg=dict(drop_unlabelled=True))
    rows = {'0003': ['depth'], '0004': ['depth', 'normals'], '0005': []}
    with Watch(root) as watch:
        train(cfg, rows)
    del rows['0005']
    assert watch.opened == files('NYUD_MT', rows)


def test_a_validation_opens_its_own_labels(train, shared_data, tmp_path):
    """All labels of its split; of the training split still no hidden one."""
    root = copied(shared_data / 'layouts/mtpsl_nyuv2', tmp_path)
    cfg = small(SAMPLES['NYUv2'][0])
    use(cfg, data_root=str(root))
    rows = in_turn(['0', '1', '2'], sorted(cfg.tasks))
    with Watch(root) as watch:
        train(cfg, rows, validate=True)
    val = {'0': [*cfg.tasks], '1': [*cfg.tasks]}
    assert watch.opened == files('NYUv2', rows) | {
        file.replace('train/', 'val/') for file in files('NYUv2', val)
    }


def test_scenes(train, monkeypatch, tmp_path):
    """They have no files: what is asked of a rendered scene, in any worker."""
    log, load = tmp_path / 'asked.txt', SceneFile.load

    def noted(self):
        with log.open('a') as file:
            file.write(f'{self.number} {self.what}\n')
        return load(self)

    monkeypatch.setattr(SceneFile, 'load', noted)
    cfg = small(SCENES)
    cfg.train_dataloader.dataset.update(
        num_scenes=6, partial_labels=dict(protocol='random-label', seed=4)
    )
    train(cfg)
    part = cfg.train_dataloader.dataset
    data = DATASETS.build({**part, 'pipeline': []})
    expected = {f'{number} image' for number in range(6)} | {
        f'{sample} {data.IMAGES[task]}'
        for sample, row in data.label_mask.labelled.items()
        for task in row
    }
    assert set(log.read_text().splitlines()) == expected
    assert len(expected) < 6 * (1 + len(data.IMAGES))


@pytest.mark.skipif(shutil.which('strace') is None, reason='no strace')
def test_strace_sees_the_same(shared_data, train, tmp_path):
    """Another witness, of a process of its own, from its first instruction."""
    root = copied(shared_data / 'layouts/NYUD_MT', tmp_path)
    cfg = small(SAMPLES['NYUD_MT'][0])
    use(cfg, data_root=str(root))
    samples = (root / LISTS['NYUD_MT']).read_text().split()
    rows = in_turn(samples, sorted(cfg.tasks))
    log = tmp_path / 'strace.txt'
    trace = [
        'strace', '-f', '--seccomp-bpf', '-qq', '-s', '4096', '-o', str(log),
        '-e', 'trace=open,openat,openat2,creat',
    ]  # fmt: skip
    if subprocess.run([*trace, 'true'], capture_output=True).returncode:
        pytest.skip('strace may not trace here')
    train(cfg, rows, prefix=trace)
    opened = set()
    for line in log.read_text().splitlines():
        found = re.search(r'"(.*?)"', line)
        file = found and Path(tmp_path, found[1])
        if file and file.is_file() and file.is_relative_to(root):
            opened.add(str(file.relative_to(root)))
    assert opened == files('NYUD_MT', rows)


def test_none_is_left_out(request):
    """The files of every registered data set were watched above."""
    if request.session.testsfailed or len(SEEN) < 2:
        pytest.skip('only after all tests of this file')
    ours = {
        name
        for name, kind in DATASETS.module_dict.items()
        if kind.__module__.startswith('mmprotomtl.')
        and 'Concat' not in name
        and name not in ('RepeatDataset', 'ClassBalancedDataset')
    }
    assert ours == SEEN
