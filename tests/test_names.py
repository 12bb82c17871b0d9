"""Names of configs and models work outside of a checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mmprotomtl import __main__ as command
from mmprotomtl.apis import MultiTaskInferencer
from mmprotomtl.engine import load_config
from mmprotomtl.utils import names
from tests.conftest import ROOT

DEMO = 'protomtl_r18_1xb8-demo_synthetic-96x128-onelabel'
METAFILES = sorted((ROOT / 'configs').glob('*/metafile.yml'))


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The package as a wheel installs it, away from the checkout."""
    place = tmp_path_factory.mktemp('site')
    skip = shutil.ignore_patterns('__pycache__', '.mim')
    package = place / 'mmprotomtl'
    shutil.copytree(ROOT / 'mmprotomtl', package, ignore=skip)
    for name in ('configs', 'tools'):
        shutil.copytree(ROOT / name, package / '.mim' / name, ignore=skip)
    shutil.copy(ROOT / 'model-index.yml', package / '.mim')
    info = place / 'mmprotomtl-0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Name: mmprotomtl\nVersion: 0\n')
    (info / 'top_level.txt').write_text('mmprotomtl\n')
    return place


def outside(site, cwd, *words, check=True):
    """Run Python with the installed package, outside of the checkout."""
    env = {**os.environ, 'PYTHONPATH': str(site), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd, env=env, text=True, capture_output=True,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr[-4000:]
    return done


#: Runs outside. Prints a line for each entry of the metafiles.
PROBE = """
import sys
import mmprotomtl
from mmengine.config import Config
from mmengine.hub import get_config, get_model
from mmengine.infer import BaseInferencer
from mmprotomtl.apis import MultiTaskInferencer
from mmprotomtl.utils.names import models

assert mmprotomtl.__file__.startswith(sys.argv[1]), mmprotomtl.__file__
listed = BaseInferencer.list_models('mmprotomtl')
assert sorted(listed) == sorted(models()), listed
for name, entry in models().items():
    place = entry['Config'].removeprefix('configs/')
    cfg = get_config(f'mmprotomtl::{place}')
    # Complete: settings and tasks have reached the model.
    assert list(cfg.model.tasks) == list(cfg.tasks), name
    assert '${' not in cfg.pretty_text, name
    with open('own.py', 'w') as file:
        file.write(f'_base_ = ["mmprotomtl::{place}"]\\nbatch_size = 3\\n')
    assert Config.fromfile('own.py').batch_size == 3
    try:
        MultiTaskInferencer(name, device='cpu')
    except ValueError as error:
        assert 'no weights are published' in str(error), error
    else:
        assert entry['Weights'], name
    print('walked', name)
model = get_model('mmprotomtl::protomtl/DEMO.py')
print('built', type(model).__name__, len(model.tasks))
""".replace('DEMO', DEMO)


def test_all_names_outside_of_a_checkout(site, tmp_path):
    done = outside(site, tmp_path, '-c', PROBE, site)
    walked = [
        line.split()[1]
        for line in done.stdout.splitlines()
        if line.startswith('walked')
    ]
    listed = [
        entry['Name']
        for file in METAFILES
        for entry in yaml.safe_load(file.read_text())['Models']
    ]
    assert sorted(walked) == sorted(listed)
    assert 'built MultiTaskSegmentor 6' in done.stdout


def test_metafiles_list_every_config():
    """And the index lists every metafile."""
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    listed = [ROOT / name for name in index['Import']]
    assert sorted(listed) == METAFILES
    configs = ROOT.glob('configs/[!_]*/*.py')
    assert {str(p.relative_to(ROOT)) for p in configs} == {
        e['Config'] for e in names.models().values()
    }
    for name, entry in names.models().items():
        assert name == Path(entry['Config']).stem


def test_the_command_outside_of_a_checkout(site, tmp_path):
    """A mask for a config that is given by its name."""
    words = ('-m', 'mmprotomtl', 'masks', 'generate', DEMO)
    done = outside(
        site, tmp_path, *words, '--protocol', 'one-label', '--seed', '0',
        '--out', 'mask.json',
    )  # fmt: skip
    assert '480 images' in done.stdout
    assert (tmp_path / 'mask.json').is_file()


def test_names_of_configs(tmp_path, monkeypatch):
    expected = str(ROOT / f'configs/protomtl/{DEMO}.py')
    for name in (
        DEMO, DEMO.upper(), f'mmprotomtl::protomtl/{DEMO}.py',
        f'mmprotomtl::protomtl/{DEMO}', expected,
    ):  # fmt: skip
        assert names.config_file(name) == expected
        assert load_config(name).filename == expected
    # A file of that name goes before.
    monkeypatch.chdir(tmp_path)
    Path(DEMO).write_text('')
    assert names.config_file(DEMO) == DEMO
    with pytest.raises(ValueError, match=f'synth: .*did you mean.*{DEMO}'):
        names.config_file('protomtl_r18_demo_synth')
    with pytest.raises(ValueError, match=r'::protomtl/none\.py: no such conf'):
        names.config_file('mmprotomtl::protomtl/none.py')
    with pytest.raises(FileNotFoundError, match=r'none\.py'):
        load_config('none.py')


def test_names_without_weights(monkeypatch):
    with pytest.raises(ValueError, match=f'train {DEMO}.*weights=') as told:
        MultiTaskInferencer(DEMO, device='cpu')
    assert told.value.__cause__ is None
    with pytest.raises(ValueError, match='neither a config file nor the name'):
        MultiTaskInferencer('protomtl', device='cpu')
    # Published ones are taken.
    entry = {**names.models()[DEMO], 'Weights': ['http://host/a.pth', 'b']}
    monkeypatch.setitem(names.models(), DEMO, entry)
    assert names.published_weights(DEMO) == 'http://host/a.pth'
    assert names.published_weights(ROOT / entry['Config']) is None


def test_the_command(capsys, monkeypatch):
    command.main(['--help'])
    shown = capsys.readouterr().out
    tools = []
    for name, item in command.COMMANDS.items():
        assert (ROOT / 'tools' / item.tool).is_file()
        tools.append(item.tool)
        assert f'  mmprotomtl {name} {item.example}\n' in f'{shown}\n'
    assert len(set(tools)) == len(tools)
    with pytest.raises(SystemExit, match=r'bake: no such command; .*train'):
        command.main(['bake'])
    monkeypatch.setattr(sys, 'argv', ['x'])
    with pytest.raises(SystemExit) as end:
        command.main(['predict', '--help'])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert 'usage: mmprotomtl predict' in shown
    assert shown.rstrip().endswith(
        f'mmprotomtl predict {command.COMMANDS["predict"].example}'
    )
    # The exit code of a tool is that of the command.
    with pytest.raises(SystemExit) as end:
        command.main(['predict', 'a.jpg'])
    assert end.value.code == 2
