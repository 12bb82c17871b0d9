"""The command ``mmprotomtl``: runs our tools, from wherever it is installed.

mmprotomtl COMMAND [arguments of the tool]
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from mmprotomtl.utils.names import home
from mmprotomtl.version import __version__

DEMO = 'protomtl_r18_1xb8-demo_synthetic-96x128-onelabel'
CKPT = f'work_dirs/{DEMO}/epoch_8.pth'


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        tool: Its file below ``tools``.
        does: What it does, in a line.
        example: Arguments that work.
    """

    tool: str
    does: str
    example: str


COMMANDS = {
    'train': Command('train.py', 'train a model', DEMO),
    'test': Command(
        'test.py', 'score a checkpoint, save predictions and pictures',
        f'{DEMO} {CKPT} --show-dir pictures',
    ),
    'predict': Command(
        'predict.py', 'predict photos, folders, videos or a webcam',
        f'photo.jpg --weights {CKPT} --out-dir out',
    ),
    'check': Command('check_dataset.py', 'check the data of a config', DEMO),
    'masks': Command(
        'label_masks.py', 'draw, show and check label masks',
        f'generate {DEMO} --protocol one-label --seed 0 --out mask.json',
    ),
    'compare': Command(
        'analysis_tools/compare.py', 'one table over several runs',
        'work_dirs/*/metrics.json',
    ),
    'flops': Command(
        'analysis_tools/get_flops.py', 'count parameters and operations',
        f'{DEMO} --shape 96 128',
    ),
    'publish': Command(
        'misc/publish_model.py', 'make a checkpoint fit to be published',
        f'{CKPT} demo',
    ),
    'convert-nyuv2': Command(
        'dataset_converters/nyuv2.py',
        'make the NYU-v2 layouts from the official files',
        'nyu_depth_v2_labeled.mat splits.mat data/nyuv2',
    ),
    'convert-cityscapes': Command(
        'dataset_converters/cityscapes.py',
        'make the MTAN form of Cityscapes from the official archives',
        'cityscapes data/cityscapes',
    ),
}  # fmt: skip


def usage() -> str:
    """The help: every command with an example."""
    width = max(map(len, COMMANDS))
    lines = [
        'usage: mmprotomtl COMMAND [arguments], mmprotomtl COMMAND --help',
        '',
        *(f'  {n:{width}}  {c.does}' for n, c in COMMANDS.items()),
        '',
        'A config is a file, a name (mim search mmprotomtl, docs/inference.md)'
        ' or mmprotomtl::FOLDER/NAME.',
        '',
        'examples:',
        *(f'  mmprotomtl {n} {c.example}' for n, c in COMMANDS.items()),
    ]
    return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run a tool as ``python tools/TOOL`` would.

    Args:
        argv: The arguments; None: those of the process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ('-h', '--help'):
        print(usage())
        return
    if words[0] == '--version':
        print(__version__)
        return
    name, *rest = words
    if name not in COMMANDS:
        raise SystemExit(
            f'mmprotomtl {name}: no such command; there are '
            f'{", ".join(COMMANDS)}'
        )
    command = COMMANDS[name]
    path = home() / 'tools' / command.tool
    # argparse shows the first word as the name of the program.
    sys.argv = [f'mmprotomtl {name}', *rest]
    try:
        _run(path)
    except SystemExit as end:
        if end.code in (None, 0) and {'-h', '--help'} & set(rest):
            print(f'\nexample:\n  mmprotomtl {name} {command.example}')
        raise


def _run(path: Path) -> None:
    """Run a script. :func:`runpy.run_path` would set the program's name."""
    module = ModuleType('__main__')
    module.__file__ = str(path)
    before = sys.modules['__main__']
    # Workers that are spawned look for the script there.
    sys.modules['__main__'] = module
    try:
        exec(compile(path.read_bytes(), path, 'exec'), vars(module))
    finally:
        sys.modules['__main__'] = before


if __name__ == '__main__':
    main()
