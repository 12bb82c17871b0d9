"""tools/check_dataset.py as a user types it."""

import json
import re
import runpy

import pytest

from mmprotomtl.engine import load_config
from mmprotomtl.utils.old_configs import read_config
from tests.conftest import ROOT

TOOL = ROOT / 'tools' / 'check_dataset.py'
NYUV2 = (
    ROOT / 'configs/protomtl/protomtl_r18_1xb4-200e_nyuv2-288x384-onelabel.py'
)


def test_scenes(tool, tiny_config, tmp_path):
    out = tmp_path / 'report.json'
    done = tool(TOOL, tiny_config, '--workers', 2, '--json', out)
    assert (
        'train: SyntheticScenesDataset, split train: 24 images' in done.stdout
    )
    assert '0 errors' in done.stdout
    report = json.loads(out.read_text())
    assert [d['loader'] for d in report['datasets']] == ['train', 'test']
    assert report['datasets'][0]['label_mask']['sha256'] in done.stdout
    assert report['datasets'][0]['tasks']['depth']['readable'] == 24


def test_no_data_is_an_error(tool, tmp_path):
    done = tool(TOOL, NYUV2, '--split', 'train', cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert 'data/nyuv2/train/image: no such folder' in done.stdout
    only_test = ['--split', 'val', '--cfg-options', 'val_dataloader=None']
    done = tool(TOOL, NYUV2, *only_test, check=False)
    assert done.returncode == 1
    assert done.stdout.endswith("no data loader of ['val']\n")


# In the config file, as an option, and as the copy of a data set.
@pytest.mark.parametrize(
    ('key', 'value', 'allowed'),
    [
        ('tasks', 3, 'a dict of at least one task'),
        ('tasks.depth', 3, r'a dict of the task.s settings'),
        ('tasks.depth', [1], r'a dict of the task.s settings'),
        ('train_dataloader.dataset.tasks', 'depth', 'a dict of at least one'),
        ('train_dataloader.dataset.tasks.depth', 3, r'a dict of the task.s'),
    ],
)
@pytest.mark.parametrize('way', ['file', 'option'])
def test_tasks_that_are_no_dict(
    tiny_config, tmp_path, monkeypatch, way, key, value, allowed
):
    options = {key: value}
    path = tiny_config
    if way == 'file':
        cfg = read_config(tiny_config)
        cfg.merge_from_dict({key: value})
        path, options = tmp_path / 'config.py', {}
        cfg.dump(path)
    with pytest.raises(ValueError) as error:
        load_config(path, options)
    expected = re.escape(f'{key}={value!r} is not allowed: give ')
    assert re.match(expected + allowed, str(error.value))
    # The tool ends with one line of it, without a traceback.
    argv = ['check_dataset.py', str(path)]
    argv += ['--cfg-options', f'{key}={value}'] * (way == 'option')
    monkeypatch.setattr('sys.argv', argv)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(TOOL), run_name='__main__')
    assert re.match(re.escape(f'{path}: ') + expected, end.value.code)
