"""Missing or unfit OpenMMLab packages are named with what to do."""

import importlib
from types import SimpleNamespace

import pytest

from mmprotomtl.utils.requirements import REQUIRED, check_requirements


@pytest.fixture
def packages(monkeypatch):
    """Versions, or errors, that importing each package gives."""
    found = {name: low for name, (low, _) in REQUIRED.items()}

    def load(name):
        if isinstance(found[name], Exception):
            raise found[name]
        return SimpleNamespace(__version__=found[name])

    monkeypatch.setattr(importlib, 'import_module', load)
    return found


@pytest.mark.parametrize('name', REQUIRED)
def test_versions(packages, name):
    low, too_new = REQUIRED[name]
    for version in (low, f'{low}.post1', f'{low}+local'):
        packages[name] = version
        check_requirements()
    for version in ('0.1.0', too_new, f'{too_new}rc1', '99.0'):
        packages[name] = version
        with pytest.raises(ImportError, match=f'needs {name}>={low},<') as e:
            check_requirements()
        assert f'found {version}' in str(e.value)
        assert 'pip install onedl-mmengine' in str(e.value)


@pytest.mark.parametrize('name', REQUIRED)
@pytest.mark.parametrize(
    'error', [ImportError('no such module'), AssertionError('MMCV==1 is used')]
)
def test_packages_that_do_not_import(packages, name, error):
    packages[name] = error
    with pytest.raises(ImportError, match=f'needs {name}, .*{error}'):
        check_requirements()
