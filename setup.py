"""Installation of mmprotomtl; see README.md for the commands."""

import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def requirements(name: str) -> list[str]:
    """The lines of a requirements file."""
    text = (ROOT / 'requirements' / f'{name}.txt').read_text()
    lines = (line.split('#')[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def version() -> str:
    """The version, without importing the package."""
    scope: dict = {}
    exec((ROOT / 'mmprotomtl' / 'version.py').read_text(), scope)
    return scope['__version__']


def write_mim(target: Path, link: bool) -> None:
    """Give mim our configs and tools: ``mmprotomtl/.mim``."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ('configs', 'tools'):
        place = target / name
        if place.is_symlink() or place.is_file():
            place.unlink()
        shutil.rmtree(place, ignore_errors=True)
        if link:
            place.symlink_to(os.path.relpath(ROOT / name, target))
        else:
            shutil.copytree(ROOT / name, place)
    files = sorted((ROOT / 'configs').glob('*/metafile.yml'))
    lines = [f'  - {file.relative_to(ROOT).as_posix()}' for file in files]
    index = '\n'.join(['Import:', *lines])
    (target / 'model-index.yml').write_text(index + '\n')


class BuildWithMim(build_py):
    """Puts ``.mim`` beside the package: copied, or linked if editable."""

    def run(self) -> None:
        """Build."""
        super().run()
        if getattr(self, 'editable_mode', False):
            write_mim(ROOT / 'mmprotomtl' / '.mim', link=True)
        else:
            write_mim(Path(self.build_lib, 'mmprotomtl', '.mim'), link=False)


setup(
    name='mmprotomtl',
    version=version(),
    description='Multi-task dense prediction from partially annotated data',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    packages=find_packages(include=['mmprotomtl', 'mmprotomtl.*']),
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    extras_require=dict(
        # One of these two, never both: they install the same packages.
        onedl=requirements('mminstall'),
        mim=requirements('mim'),
        optional=requirements('optional'),
        tests=requirements('tests'),
        docs=requirements('docs'),
    ),
    cmdclass=dict(build_py=BuildWithMim),
    zip_safe=False,
)
