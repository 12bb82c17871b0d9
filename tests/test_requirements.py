"""What is imported is declared, and the bounds are those that are tested."""

import ast
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
#: Import name -> distribution, where they differ.
DISTRIBUTIONS = dict(
    cv2='opencv-python',
    mmcv='onedl-mmcv',
    mmengine='onedl-mmengine',
    mmpretrain='onedl-mmpretrain',
    mmseg='onedl-mmsegmentation',
    PIL='pillow',
    skimage='scikit-image',
    sklearn='scikit-learn',
    yaml='pyyaml',
    py_sod_metrics='pysodmetrics',
    cosmic_ray='cosmic-ray',
)
#: Folder -> the files that declare what its code imports.
DECLARED = {
    'mmprotomtl': ('runtime', 'mminstall', 'optional'),
    'tools': ('runtime', 'mminstall', 'optional'),
    'demo': ('runtime', 'mminstall'),
    'tests': ('runtime', 'mminstall', 'tests', 'tests-no-deps'),
}


def requirements(*names):
    """The requirements of files in ``requirements/``, by distribution."""
    found = {}
    for name in names:
        for line in (
            (ROOT / f'requirements/{name}.txt').read_text().split('\n')
        ):
            line = line.split('#')[0].strip()
            if line:
                requirement = Requirement(line)
                key = canonicalize_name(requirement.name)
                found.setdefault(key, []).append(requirement)
    return found


def imported(source):
    """The distributions that a file of Python imports from outside."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split('.')[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split('.')[0])
    names -= {'mmprotomtl', 'tests', *sys.stdlib_module_names}
    return {DISTRIBUTIONS.get(name, name) for name in names}


@pytest.mark.parametrize('folder', DECLARED)
def test_each_imported_distribution_is_declared(folder):
    declared = requirements(*DECLARED[folder])
    files = sorted((ROOT / folder).rglob('*.py'))
    missing = {
        (str(file.relative_to(ROOT)), name)
        for file in files
        for name in imported(file.read_text())
        if canonicalize_name(name) not in declared
    }
    assert files and not missing


def test_imports_are_found_wherever_they_stand():
    source = 'import os, cv2\ndef f():\n    from PIL.Image import open\n'
    assert imported(source) == {'opencv-python', 'pillow'}
    assert imported('from . import a\nfrom mmprotomtl import b\n') == set()


def test_both_lines_of_openmmlab_have_the_packages_that_are_imported():
    upstream = requirements('mim')
    onedl = [n for n in requirements('mminstall') if n.startswith('onedl-')]
    assert len(onedl) == 4
    assert {n.removeprefix('onedl-') for n in onedl} <= set(upstream)


def test_oldest_versions_are_the_lower_bounds():
    """Each bound of the OneDL line is tested by ``make test-oldest``."""
    bounds = {}
    for name, entries in requirements(
        'runtime', 'mminstall', 'tests', 'tests-no-deps', 'weights'
    ).items():
        versions = [
            Version(spec.version)
            for requirement in entries
            for spec in requirement.specifier
            if spec.operator == '>='
        ]
        bounds[name] = max(versions)
    pins = {
        name: Version(next(iter(entry.specifier)).version)
        for name, (entry,) in requirements('oldest').items()
    }
    # The Makefile puts it into the place of opencv-python.
    assert pins.pop('opencv-python-headless') == pins['opencv-python']
    assert pins == bounds


def test_versions_that_ci_installs_are_allowed():
    allowed = requirements(
        'runtime', 'mminstall', 'tests', 'tests-no-deps', 'weights'
    )
    for name, (pin,) in requirements('constraints').items():
        version = next(iter(pin.specifier)).version
        for requirement in allowed.get(name, []):
            assert version in requirement.specifier, (name, requirement)
