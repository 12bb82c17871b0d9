"""Config files of earlier versions are refused with what to write now."""

import re
import shlex
from pathlib import Path

import pytest

from mmprotomtl.engine import load_config
from mmprotomtl.utils.old_configs import new_command, new_config, read_config

ROOT = Path(__file__).resolve().parents[2]
LABELS = 'train_dataloader.dataset.partial_labels'
RUNS = [
    '1xb4-200e_nyuv2-288x384',
    '1xb8-20e_nyuv2-96x128',
    '1xb4-200e_synthetic-288x384',
    '1xb8-demo_synthetic-96x128',
]


def gone():
    """The files that went, and the file and settings that they are now."""
    for run in RUNS:
        random = 'random-label'
        if 'nyuv2' in run:
            random = 'data/nyuv2/randomlabels.pth'
        for method, now, task in (
            ('protomtl/protomtl', 'protomtl/protomtl', None),
            ('baselines/mtl', 'baselines/mtl', None),
            ('baselines/stl-semseg', 'baselines/mtl', 'semseg'),
            ('baselines/stl-depth', 'baselines/mtl', 'depth'),
            ('baselines/stl-normals', 'baselines/mtl', 'normals'),
        ):
            for labels, value in (
                ('onelabel', None), ('full', 'full'), ('randomlabel', random),
            ):  # fmt: skip
                options = dict(only_task=task) if task else {}
                if value:
                    options[LABELS] = value
                if options:
                    yield (
                        f'configs/{method}_r18_{run}-{labels}.py',
                        f'configs/{now}_r18_{run}-onelabel.py',
                        options,
                    )


def test_every_old_file_has_its_settings():
    files = list(gone())
    assert len(files) == 52
    for file, now, options in files:
        assert not (ROOT / file).exists()
        assert (ROOT / now).is_file()
        assert new_config(file) == (now, options)


@pytest.mark.parametrize(
    'file',
    [
        'configs/protomtl/protomtl_r18_1xb8-20e_nyuv2-96x128-onelabel.py',
        'configs/protomtl/protomtl_r18_1xb4-200e_pascal-512x512-full.py',
        'configs/baselines/stl-edge_r18_1xb8-20e_nyuv2-96x128-full.py',
        'mine.py',
    ],
)
def test_other_files_have_none(file):
    assert new_config(file) is None


OLD = 'configs/baselines/stl-depth_r18_1xb8-20e_nyuv2-96x128-randomlabel.py'
NEW = 'configs/baselines/mtl_r18_1xb8-20e_nyuv2-96x128-onelabel.py'
STEM = 'stl-depth_r18_1xb8-20e_nyuv2-96x128-randomlabel'
OPTIONS = f'only_task=depth {LABELS}=data/nyuv2/randomlabels.pth'


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        (
            f'tools/train.py {OLD} --resume',
            f'tools/train.py {NEW} --resume --work-dir work_dirs/{STEM} '
            f'--cfg-options {OPTIONS}',
        ),
        (
            f'tools/test.py {OLD} a.pth --work-dir w --cfg-options a=1 --tta',
            f'tools/test.py {NEW} a.pth --work-dir w --cfg-options {OPTIONS} '
            'a=1 --tta',
        ),
        (
            f'tools/check_dataset.py {OLD}',
            f'tools/check_dataset.py {NEW} --cfg-options {OPTIONS}',
        ),
        (
            'of another program',
            f'tools/train.py {NEW} --work-dir work_dirs/{STEM} --cfg-options '
            f'{OPTIONS}',
        ),
    ],
)
def test_new_command(before, after):
    command = new_command(OLD, new_config(OLD), before.split())
    assert command == f'python {after}'


@pytest.mark.parametrize('read', [read_config, load_config])
def test_an_old_file_is_refused(read):
    with pytest.raises(ValueError, match='is now a setting of') as caught:
        read(ROOT / OLD)
    text = str(caught.value)
    assert f'mtl_r18_1xb8-20e_nyuv2-96x128-onelabel.py ({OPTIONS})' in text
    assert f'--work-dir work_dirs/{STEM}' in text


def test_a_config_that_inherits_an_old_file(tmp_path):
    mine = tmp_path / 'mine.py'
    mine.write_text(f'_base_ = {str(ROOT / OLD)!r}\nbatch_size = 2\n')
    with pytest.raises(ValueError, match=f'{mine} inherits') as caught:
        load_config(mine)
    # The lines that it says do what it says.
    lines = re.findall(r'^    (\w+ = .*)$', str(caught.value), re.M)
    assert len(lines) == 3
    mine.write_text('\n'.join([*lines, 'batch_size = 2']))
    cfg = load_config(mine)
    assert cfg.train_dataloader.batch_size == 2
    assert cfg.only_task == 'depth'
    mask = 'data/nyuv2/randomlabels.pth'
    assert cfg.train_dataloader.dataset.partial_labels == mask


def test_a_missing_file_that_never_was(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing\.py'):
        load_config(tmp_path / 'nothing.py')


def test_the_tools_print_the_command(tool):
    done = tool('tools/train.py', OLD, '--seed', 3, check=False)
    assert done.returncode != 0
    (line,) = re.findall(r'^    (python .*)$', done.stdout, re.M)
    assert shlex.split(line) == [
        'python', 'tools/train.py', NEW, '--seed', '3',
        '--work-dir', f'work_dirs/{STEM}', '--cfg-options', *OPTIONS.split(),
    ]  # fmt: skip
