"""Names of models and configs that work outside of a checkout.

A wheel has configs, tools and metafiles in ``mmprotomtl/.mim``, where mim and
mmengine look for them; a checkout has them beside the package.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.fileio import load
from mmengine.hub import hub

PACKAGE = Path(__file__).resolve().parents[1]
#: How the name of a config of this package begins.
PREFIX = 'mmprotomtl::'
INDEX = 'model-index.yml'


def home() -> Path:
    """The folder with ``configs``, ``tools`` and ``model-index.yml``.

    Raises:
        FileNotFoundError: The package was copied without them.
    """
    for folder in (PACKAGE.parent, PACKAGE / '.mim'):
        if (folder / INDEX).is_file() and (folder / 'configs').is_dir():
            return folder
    raise FileNotFoundError(
        f'{PACKAGE / ".mim"}: no configs and tools there; install the wheel '
        'of mmprotomtl, or run from a checkout'
    )


@cache
def models() -> dict[str, Mapping[str, Any]]:
    """Name (or alias) -> entry of the metafiles."""
    found: dict[str, Mapping[str, Any]] = {}
    index = load(home() / INDEX)
    for file in index['Import']:
        for entry in load(home() / file)['Models']:
            for name in (entry['Name'], *_aliases(entry)):
                found[name] = entry
    return found


def _aliases(entry: Mapping[str, Any]) -> Iterator[str]:
    given = entry.get('Alias') or ()
    yield from [given] if isinstance(given, str) else given


def model_entry(name: str | Path) -> Mapping[str, Any] | None:
    """The entry of a name in the metafiles; None: it is no such name."""
    known = {key.lower(): entry for key, entry in models().items()}
    return known.get(str(name).lower())


def config_file(name: str | Path) -> str:
    """The config file that a path or a name means.

    Args:
        name: A path; a name in a metafile; or ``mmprotomtl::`` with the path
            of a config below ``configs``, with or without ``.py``.

    Returns:
        The path. One of a file that does not exist is returned as it is.

    Raises:
        ValueError: It looks like no path, and is no name either.
    """
    text = str(name)
    if Path(text).exists():
        return text
    if text.startswith(PREFIX):
        inside = text.removeprefix(PREFIX)
        ending = '' if inside.endswith('.py') else '.py'
        path = home() / 'configs' / f'{inside}{ending}'
        if not path.is_file():
            raise ValueError(f'{text}: no such config{_advice(inside)}')
        return str(path)
    entry = model_entry(text)
    if entry is not None:
        return str(home() / entry['Config'])
    if '/' in text or Path(text).suffix:
        return text
    raise ValueError(
        f'{text}: neither a config file nor the name of a model{_advice(text)}'
    )


def _advice(name: str) -> str:
    """The names that are close to one that is wrong."""
    close = get_close_matches(Path(name).stem, models(), n=3, cutoff=0.4)
    return f'; did you mean {", ".join(close or sorted(models()))}?'


def published_weights(name: str | Path) -> str | None:
    """The weights of a name in a metafile.

    Args:
        name: The name, or a config file, which has none.

    Returns:
        URL or path; None for a config file.

    Raises:
        ValueError: None are published for the name.
    """
    entry = None if Path(name).exists() else model_entry(name)
    if entry is None:
        return None
    given = entry.get('Weights')
    first = given[0] if isinstance(given, list) else given
    if not first:
        raise ValueError(
            f'{name}: no weights are published for it; train them (mmprotomtl '
            f'train {entry["Name"]}) or give a checkpoint, weights=...'
        )
    return str(first)


class _HubConfig(Config):
    """Reads configs for ``mmengine.hub``, which builds what it reads."""

    @staticmethod
    def fromfile(filename: str | Path, *args: Any, **kwargs: Any) -> Config:
        """As mmengine's; one of this package is completed, since its model
        gets tasks and settings from the top level of the config.
        """
        parts = Path(filename).parts
        if ('mmprotomtl', '.mim') not in pairwise(parts):
            return Config.fromfile(filename, *args, **kwargs)
        # This module is imported before the rest of the package.
        from mmprotomtl.engine import load_config

        return load_config(filename)


def install() -> None:
    """Make mmengine know configs and models by our name: inheritance
    (``_base_ = 'mmprotomtl::...'``), inferencers and ``mmengine.hub``.

    mmengine has a list of the packages that it takes, and no way to add one.
    """
    MODULE2PACKAGE.setdefault('mmprotomtl', 'mmprotomtl')
    hub.Config = _HubConfig
