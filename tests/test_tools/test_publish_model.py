import hashlib

import torch

from mmprotomtl.apis import MultiTaskInferencer
from tests.conftest import ROOT

TOOL = ROOT / 'tools/misc/publish_model.py'


def test_publish(tool, tiny_config, tmp_path):
    tool(
        ROOT / 'tools/train.py', tiny_config, '--work-dir', tmp_path,
        '--cfg-options', 'train_cfg.max_epochs=1',
        'model.consistency.weight=1.0',
    )  # fmt: skip
    source = tmp_path / 'epoch_1.pth'
    tool(TOOL, source, tmp_path / 'out' / 'model.pth')
    (path,) = (tmp_path / 'out').iterdir()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert path.name == f'model-{digest}.pth'
    published = torch.load(path, weights_only=True)
    trained = torch.load(source, weights_only=False)
    assert published.keys() == {'meta', 'state_dict'}
    weights, teacher = {}, {}
    for key, value in trained['state_dict'].items():
        (teacher if key.startswith('consistency.') else weights)[key] = value
    assert teacher and published['state_dict'].keys() == weights.keys()
    for key, value in weights.items():
        assert torch.equal(value, published['state_dict'][key])
    mask = published['meta']['dataset_meta']['label_mask']
    assert (
        mask['sha256']
        == (trained['meta']['dataset_meta']['label_mask']['sha256'])
    )
    assert path.stat().st_size < source.stat().st_size / 2
    MultiTaskInferencer(str(tiny_config), str(path))


def test_no_checkpoint(tool, tmp_path):
    path = tmp_path / 'a.pth'
    path.write_bytes(b'no')
    done = tool(TOOL, path, tmp_path / 'b.pth', check=False)
    assert done.returncode == 1
    assert f'{path}: not a whole checkpoint' in done.stdout
