"""tools/check_dataset.py as a user types it."""

import json

import pytest

from tests.conftest import ROOT

TOOL = ROOT / 'tools' / 'check_dataset.py'
NYUV2 = (
    ROOT / 'configs/protomtl/protomtl_r18_1xb4-200e_nyuv2-288x384-onelabel.py'
)


def test_scenes(tool, tiny_config, tmp_path):
    out = tmp_path / 'report.json'
    done = tool(TOOL, tiny_config, '--workers', 2, '--json', out)
    assert (
        'train: SyntheticScenesDataset, part train: 24 images' in done.stdout
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
    done = tool(TOOL, NYUV2, '--workers', 0, check=False)
    assert done.returncode == 2


@pytest.fixture
def place(nyuv2, tmp_path):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/nyuv2').symlink_to(nyuv2)
    return tmp_path


def test_the_real_nyuv2(tool, place):
    done = tool(TOOL, NYUV2, '--strict', '--json', 'out.json', cwd=place)
    train, val = json.loads((place / 'out.json').read_text())['datasets']
    assert (train['images'], val['images']) == (795, 654)
    assert train['warnings'] == train['errors'] == []
    assert val['warnings'] == val['errors'] == []
    assert val['loader'] == 'val, test'
    used = dict(semseg=265, depth=265, normals=265)
    assert train['label_mask']['labels'] == used
    assert train['tasks']['semseg']['summary']['classes_seen'] == 13
    assert '795 images (published: 795)' in done.stdout
