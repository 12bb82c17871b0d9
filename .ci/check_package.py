"""Build sdist and wheel, install each elsewhere, and use what is inside.

python .ci/check_package.py

The run that builds the wheel starts from the sdist, so a file that the sdist
lacks fails it. Each of the two is then installed, without its dependencies,
into a fresh virtual environment outside the checkout, and used from there.
The dependencies are those of the environment that runs this script: they are
only put on the path, since installing torch again takes minutes. So this
check cannot see an undeclared dependency; tests/test_requirements.py does.
"""

import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: Runs in the fresh environment. Prints what it found.
PROBE = """
import importlib.metadata
import sys
from pathlib import Path

import yaml
from mmengine.hub import get_config

import mmprotomtl
from mmprotomtl.engine import load_config
from mmprotomtl.registry import MODELS

package = Path(mmprotomtl.__file__).parent
assert package.is_relative_to(sys.prefix), package
meta = importlib.metadata.metadata('mmprotomtl')
assert meta['License-Expression'] == 'Apache-2.0', meta['License-Expression']
assert 'numpy' in ' '.join(meta.get_all('Requires-Dist'))
assert (package / 'py.typed').is_file()

mim = package / '.mim'
index = yaml.safe_load((mim / 'model-index.yml').read_text())
models = []
for name in index['Import']:
    models += yaml.safe_load((mim / name).read_text())['Models']
configs = [load_config(mim / model['Config']) for model in models]
assert configs, 'no model in the metafiles'
assert len(list(mim.glob('configs/*/*.py'))) >= len(configs)
# By their names, through mmengine.
for model in models:
    name = model['Config'].removeprefix('configs/')
    assert get_config(f'mmprotomtl::{name}').model.tasks, name
tiny = next(c for c in configs if c.model.backbone.type.endswith('ResNet'))
network = MODELS.build(tiny.model)
count = sum(p.numel() for p in network.parameters())
print(len(configs), 'configs loaded; one has', count, 'parameters')
"""


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a command; stop at a failure."""
    # Neither the checkout nor an editable install may be what is imported.
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    subprocess.run(list(map(str, command)), check=True, cwd=cwd, env=env)


def check_install(archive: Path, place: Path) -> None:
    """Install an archive into a fresh environment and use it there.

    Args:
        archive: Sdist or wheel.
        place: An empty folder outside the checkout.
    """
    run(sys.executable, '-m', 'venv', place / 'venv')
    python = place / 'venv' / 'bin' / 'python'
    run(
        python, '-m', 'pip', 'install', '--quiet', '--no-deps',
        '--disable-pip-version-check', archive,
    )  # fmt: skip
    # The path alone: .pth files of the other environment are not read, so
    # its editable install of this checkout stays invisible.
    here = {'base': str(place / 'venv'), 'platbase': str(place / 'venv')}
    fresh = Path(sysconfig.get_path('purelib', 'venv', here))
    theirs = sysconfig.get_path('purelib')
    (fresh / 'dependencies.pth').write_text(f'{theirs}\n')
    run(python, '-c', PROBE, cwd=place)
    tools = fresh / 'mmprotomtl' / '.mim' / 'tools'
    run(python, tools / 'train.py', '--help', cwd=place)
    command = place / 'venv' / 'bin' / 'mmprotomtl'
    run(command, 'train', '--help', cwd=place)


def files_of_wheel(archive: Path) -> set[str]:
    """The names in a wheel."""
    return set(zipfile.ZipFile(archive).namelist())


def files_of_sdist(archive: Path) -> set[str]:
    """The names in an sdist, without its folder."""
    with tarfile.open(archive) as tar:
        names = (m.name for m in tar.getmembers() if m.isfile())
        return {name.split('/', 1)[1] for name in names}


def tracked() -> set[str]:
    """The files of the repository that a package is made of."""
    listed = subprocess.run(
        ['git', 'ls-files'], cwd=ROOT, check=True, capture_output=True
    )
    names = listed.stdout.decode().split()
    return {
        n for n in names if n.split('/')[0] not in ('.github', '.gitignore')
    }


def main() -> None:
    """Build and check."""
    with tempfile.TemporaryDirectory() as folder:
        dist = Path(folder, 'dist')
        run(sys.executable, '-m', 'build', '--outdir', dist, ROOT)
        [sdist] = dist.glob('*.tar.gz')
        [wheel] = dist.glob('*.whl')
        missing = sorted(tracked() - files_of_sdist(sdist))
        if missing:
            sys.exit(f'files that the sdist lacks: {missing}')
        kept = [n for n in tracked() if n.startswith(('configs/', 'tools/'))]
        wanted = {f'mmprotomtl/.mim/{name}' for name in kept}
        wanted |= {n for n in tracked() if n.startswith('mmprotomtl/')}
        missing = sorted(wanted - files_of_wheel(wheel))
        if missing:
            sys.exit(f'files that the wheel lacks: {missing}')
        for archive in (sdist, wheel):
            place = Path(folder, archive.suffix.strip('.'))
            place.mkdir()
            check_install(archive, place)
            print(f'{archive.name}: installs and works', flush=True)


if __name__ == '__main__':
    main()
