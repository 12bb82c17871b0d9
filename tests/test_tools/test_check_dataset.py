"""tools/check_dataset.py as a user types it."""

import json

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
