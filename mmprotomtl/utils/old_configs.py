"""Replacements for the config files of earlier versions.

Earlier versions had a file for each label protocol (``-full``,
``-randomlabel``) and for each single task (``stl-depth``). Both are settings
now.
"""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from .names import config_file

_RUNS = (
    '1xb4-200e_nyuv2-288x384',
    '1xb8-20e_nyuv2-96x128',
    '1xb4-200e_synthetic-288x384',
    '1xb8-demo_synthetic-96x128',
)
_OLD = re.compile(
    r'(?P<method>protomtl|mtl|stl-(?P<task>semseg|depth|normals))'
    rf'_r18_(?P<run>{"|".join(_RUNS)})'
    r'-(?P<labels>onelabel|randomlabel|full)'
)
_PARTIAL_LABELS = 'train_dataloader.dataset.partial_labels'


class NewConfig(NamedTuple):
    """Replacement of a config file of earlier versions."""

    #: The config file to use.
    file: str
    #: The settings to add: dotted key -> value.
    options: dict[str, str]


def new_config(file: str | Path) -> NewConfig | None:
    """Return the file and the settings that replace an old config file.

    Args:
        file: Path of the old file; it need not exist.

    Returns:
        The replacement; None if there was no such file in earlier versions, or
        if it still exists.
    """
    path = Path(file)
    old = _OLD.fullmatch(path.stem)
    if old is None:
        return None
    options = {}
    if old['task']:
        options['only_task'] = old['task']
    if old['labels'] == 'full':
        options[_PARTIAL_LABELS] = 'full'
    elif old['labels'] == 'randomlabel':
        # NYU-v2 has a published mask; for rendered scenes one is drawn.
        published = 'nyuv2' in old['run']
        options[_PARTIAL_LABELS] = (
            'data/nyuv2/randomlabels.pth' if published else 'random-label'
        )
    if not options:
        return None
    method = 'mtl' if old['task'] else old['method']
    name = f'{method}_r18_{old["run"]}-onelabel.py'
    return NewConfig(str(path.with_name(name)), options)


def new_command(
    file: str | Path, new: NewConfig, argv: Sequence[str] | None = None
) -> str:
    """Return the command that replaces a command with an old config file.

    Args:
        file: The old config file.
        new: Its replacement.
        argv: The old command line; None: that of this process.
    """
    words = list(sys.argv if argv is None else argv)
    if str(file) not in words:
        words = ['tools/train.py', str(file)]
    place = words.index(str(file))
    words[place] = new.file
    script = Path(words[0]).name
    given = any(word.split('=')[0] == '--work-dir' for word in words)
    if script in ('train.py', 'test.py') and not given:
        # Folder in which earlier runs saved their checkpoints.
        words += ['--work-dir', f'work_dirs/{Path(file).stem}']
    options = [f'{key}={value}' for key, value in new.options.items()]
    if '--cfg-options' in words:
        place = words.index('--cfg-options') + 1
        words[place:place] = options
    else:
        words += ['--cfg-options', *options]
    return shlex.join(['python', *words])


def read_config(file: str | Path) -> Config:
    """Read a config file with all files that it inherits.

    Args:
        file: A path, or a name, see
            :func:`~mmprotomtl.utils.names.config_file`.

    Raises:
        ValueError: The file is a missing one of an earlier version, or
            inherits one; the message says what to write instead.
        FileNotFoundError: The file, or a file that it inherits, is missing.
    """
    try:
        return Config.fromfile(config_file(file))
    except FileNotFoundError as error:
        # For the file itself, mmengine raises an error without `filename`;
        # for inherited files, Python's error has it.
        quoted = re.search(r'"([^"]+)"', str(error))
        path = str(error.filename or (quoted[1] if quoted else file))
        new = new_config(path)
        if new is None:
            raise
        raise ValueError(_explain(str(file), path, new)) from None


def _explain(file: str, missing: str, new: NewConfig) -> str:
    """Return the error message: what to write instead of an old file."""
    settings = ' '.join(f'{k}={v}' for k, v in new.options.items())
    if Path(file).stem == Path(missing).stem:
        now = new_config(file)
        assert now is not None
        return (
            f'{file}: this config file is now a setting of {now.file} '
            f'({settings}). The command for the same run is now:\n    '
            f'{new_command(file, now)}\n'
            '--work-dir is the folder of runs with the old file: with '
            '--resume they continue there, and tools/test.py accepts their '
            'checkpoints as before.'
        )
    lines = [
        f'{key} = {value!r}'
        if '.' not in key
        else f'train_dataloader = dict(dataset=dict(partial_labels={value!r}))'
        for key, value in new.options.items()
    ]
    return (
        f'{file} inherits {missing}: this config file is now a setting of '
        f'{new.file} ({settings}). Write in {file}, beside your own '
        'settings:\n    ' + '\n    '.join([f'_base_ = {new.file!r}', *lines])
    )
