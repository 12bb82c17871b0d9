"""Check the data of a config: counts, files, sizes, values, label protocol.

python tools/check_dataset.py CONFIG [--split train val test] [--workers N]
    [--json FILE] [--strict] [--cfg-options ...]

Every image and every label is read, those too that a label mask hides; nothing
is trained and nothing in the data folder is changed. Exit code: 0 all can be
used, 1 there are errors (with --strict: or warnings).
"""

import argparse
import sys

from mmengine.config import DictAction

from mmprotomtl.datasets.check import LOADERS, check_config, format_report
from mmprotomtl.engine import load_config
from mmprotomtl.utils.files import write_json


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description='Check the data of a config')
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--split',
        nargs='+',
        choices=LOADERS,
        default=list(LOADERS),
        help='the loaders whose data is read (default: all)',
    )
    parser.add_argument(
        '--workers', type=int, help='processes (default: one for each core)'
    )
    parser.add_argument('--json', metavar='FILE', help='write all of it here')
    parser.add_argument(
        '--strict', action='store_true', help='warnings count as errors'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings that replace those of the config, as '
        'train_dataloader.dataset.data_root=/data/nyuv2',
    )
    args = parser.parse_args()
    if args.workers is not None and args.workers < 1:
        parser.error(f'--workers {args.workers}: at least 1 is needed')
    return args


def main() -> None:
    """Check."""
    args = parse_args()
    print('Reading every image and every label, hidden ones too.', flush=True)
    try:
        cfg = load_config(args.config, args.cfg_options)
        reports = check_config(cfg, args.split, args.workers)
    except ValueError as error:
        sys.exit(f'{args.config}: {error}')
    for report in reports:
        print(format_report(report), end='\n\n')
    errors = sum(len(report['errors']) for report in reports)
    warnings = sum(len(report['warnings']) for report in reports)
    print(f'{errors} errors, {warnings} warnings')
    if args.json:
        write_json(
            args.json,
            dict(errors=errors, warnings=warnings, datasets=reports),
        )
    sys.exit(1 if errors or (args.strict and warnings) else 0)


if __name__ == '__main__':
    main()
