"""The config in a checkpoint is read, and not executed."""

import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmprotomtl.apis import MultiTaskInferencer
from mmprotomtl.apis.inferencer import stored_config
from mmprotomtl.loading.stored_config import read_stored_config
from mmprotomtl.utils.config_variables import fill_in_variables
from mmprotomtl.utils.errors import DataFileError
from tests.conftest import ROOT

OLD = ROOT / 'tests' / 'data' / 'checkpoint_of_b306e70'


@pytest.mark.parametrize(
    'path',
    sorted((ROOT / 'configs').glob('*/*.py')),
    ids=lambda path: path.stem,
)
def test_the_text_of_a_config_is_read_as_mmengine_reads_it(path):
    cfg = Config.fromfile(path)
    fill_in_variables(cfg)
    found = read_stored_config(cfg.pretty_text, 'a.pth')
    assert found._cfg_dict.to_dict() == cfg._cfg_dict.to_dict()


def test_all_forms_of_plain_values():
    text = """a = 1
b = dict(c=-2.5, d=[1, (2, 'x')], **{'e.f': None})
g = dict({'h': {1, 2}, 3: b'raw'})
i = {'j': True, **dict(k=1e-3)}
"""
    found = read_stored_config(text, 'a.pth')._cfg_dict.to_dict()
    assert found == dict(
        a=1, b={'c': -2.5, 'd': [1, (2, 'x')], 'e.f': None},
        g={'h': {1, 2}, 3: b'raw'}, i=dict(j=True, k=1e-3),
    )  # fmt: skip


@pytest.mark.parametrize(
    'line, said',
    [
        ("import os", 'line 2'),
        ("a = open('harm.txt', 'w')", 'line 2'),
        ("a = dict(b=[c for c in open('harm.txt', 'w')])", 'line 2'),
        ("a = (lambda: 1)()", 'line 2'),
        ("a = dict(1, 2)", 'line 2'),
        ("a = b", 'line 2'),
        ("a.b = 1", 'line 2'),
        ("a = f'{1}'", 'line 2'),
        ("a = 9 ** 9 ** 9", 'line 2'),
        ("print(1)", 'line 2'),
        ("a = {[]: 1}", 'cannot be read'),
        ("a = " + '[' * 5000, 'cannot be read'),
        ("a = " + '-' * 100_000 + '1', 'cannot be read|line 2'),
        ("custom_imports = dict(imports='harm')", "imports 'harm'"),
        ("custom_imports = dict(imports=['mmprotomtl', 'harm.a'])", 'harm.a'),
        ("model = dict(type='os.system', command='touch harm.txt')",
         r"model\.type='os\.system'"),
        ("a = [dict(b=(dict(type='builtins.exec'),))]",
         r"a\[0\]\.b\[0\]\.type"),
        ("x = 'harm.call'\nmodel = dict(type='${x}')",
         r'variables in model\.type'),
        # mmengine would import harm.registry, to look for it there.
        ("model = dict(type='harm.Conv2d')", r"'harm\.Conv2d', which is no"),
        ("model = dict(type='harm')", 'not registered'),
        ("model = dict(type='mmpretrain.OFA')", 'builds model.type'),
        ("model = dict(type='TIMMBackbone')", 'builds model.type'),
        ("model = dict(_scope_='harm', type='Conv2d')", '_scope_'),
        ("default_scope = 'mmpretrain'", 'default_scope'),
        ("a = dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth', "
         "trust_checkpoint=True))", 'only a user can say that'),
    ],
)  # fmt: skip
def test_anything_else_is_refused(line, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path('harm.py').write_text("open('harm.txt', 'w')\ncall = print\n")
    with pytest.raises(DataFileError, match=f'(?s)the config in it.*{said}'):
        read_stored_config(f'first = 1\n{line}\n', 'a.pth')
    assert not Path('harm.txt').exists()
    assert 'harm' not in sys.modules


def test_the_inferencer_reads_it_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = torch.load(OLD / 'epoch_40.pth', weights_only=False)
    harm = "open('harm.txt', 'w')\n"
    state['meta']['cfg'] = harm + state['meta']['cfg']
    state['message_hub']['runtime_info']['cfg'] = state['meta']['cfg']
    torch.save(state, 'a.pth')
    with pytest.raises(DataFileError, match='a.pth: the config in it has in'):
        MultiTaskInferencer(weights='a.pth', device='cpu')
    assert not Path('harm.txt').exists()
    # With a config of the user's own, that in the file does not matter.
    MultiTaskInferencer(str(OLD / 'today.py'), 'a.pth', device='cpu')
    assert not Path('harm.txt').exists()
    found = stored_config('a.pth', trust_checkpoint=True)
    assert Path('harm.txt').exists()
    assert found.model.type == 'MultiTaskSegmentor'
