"""What pyproject.toml cannot say: the files that mim looks for.

The metadata of the package are in pyproject.toml.
"""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


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
            skip = shutil.ignore_patterns('__pycache__')
            shutil.copytree(ROOT / name, place, ignore=skip)
    index = target / 'model-index.yml'
    index.unlink(missing_ok=True)
    shutil.copy(ROOT / index.name, index)


class BuildWithMim(build_py):
    """Puts ``.mim`` beside the package: copied, or linked if editable."""

    def run(self) -> None:
        """Build."""
        super().run()
        if getattr(self, 'editable_mode', False):
            write_mim(ROOT / 'mmprotomtl' / '.mim', link=True)
        else:
            write_mim(Path(self.build_lib, 'mmprotomtl', '.mim'), link=False)


setup(cmdclass=dict(build_py=BuildWithMim), zip_safe=False)
