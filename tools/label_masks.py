"""Draw, show and check label masks: which image is labelled for which task.

python tools/label_masks.py generate CONFIG --protocol P --seed N --out FILE
python tools/label_masks.py show FILE
python tools/label_masks.py verify FILE CONFIG

A mask that was generated is used by
partial_labels=dict(mask_file=FILE) in the training data set of a config.
"""

import argparse
import sys

from mmengine.config import DictAction
from prettytable import PrettyTable

from mmprotomtl.datasets import MultiTaskDataset
from mmprotomtl.engine import load_config
from mmprotomtl.label_masks import (
    PROTOCOLS,
    LabelMask,
    read_mask_file,
    write_label_mask,
)
from mmprotomtl.registry import DATASETS


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest='command', required=True)
    draw = commands.add_parser('generate', help='draw a mask')
    draw.add_argument('config', help='whose training images are labelled')
    draw.add_argument('--protocol', required=True, choices=list(PROTOCOLS))
    draw.add_argument('--seed', type=int, default=0)
    draw.add_argument('--out', required=True, help='the manifest, JSON')
    draw.add_argument(
        '--ratio', type=float, help='share of labels kept (protocol ratio)'
    )
    draw.add_argument(
        '--budget',
        nargs='+',
        metavar='N|TASK=N',
        help='labels of each task (protocol budget)',
    )
    show = commands.add_parser('show', help='print what a mask holds')
    show.add_argument('file', help='a mask file of any published format')
    check = commands.add_parser('verify', help='does it fit a data set?')
    check.add_argument('file', help='a mask file of any published format')
    check.add_argument('config', help='whose training images it is for')
    for command in (draw, check):
        command.add_argument(
            '--cfg-options',
            nargs='+',
            action=DictAction,
            help='settings that replace those of the config',
        )
    return parser.parse_args()


def bound_mask(args: argparse.Namespace, partial_labels: dict) -> LabelMask:
    """The mask of a config's training set, with other ``partial_labels``."""
    cfg = load_config(args.config, args.cfg_options)
    dataset_cfg = cfg.train_dataloader.dataset
    own = dataset_cfg.get('partial_labels') or {}
    if 'protocol' in partial_labels and own.get('tasks'):
        # A single-task run sees the labels of the multi-task run.
        partial_labels['tasks'] = own['tasks']
    # Not `update`, which would merge it into the config's own.
    dataset_cfg['partial_labels'] = partial_labels
    dataset_cfg['pipeline'] = []
    dataset = DATASETS.build(dataset_cfg)
    assert isinstance(dataset, MultiTaskDataset)
    mask = dataset.pipeline.transforms[0].mask
    assert isinstance(mask, LabelMask)
    return mask


def options(args: argparse.Namespace) -> dict:
    """The protocol's options, from the command line."""
    given: dict = {}
    if args.ratio is not None:
        given['ratio'] = args.ratio
    if args.budget is not None:
        try:
            if len(args.budget) == 1 and '=' not in args.budget[0]:
                given['budget'] = int(args.budget[0])
            else:
                pairs = [item.split('=') for item in args.budget]
                given['budget'] = {task: int(n) for task, n in pairs}
        except ValueError:
            raise ValueError(
                f'--budget {" ".join(args.budget)} is not allowed: give one '
                'number, or TASK=N for each task'
            ) from None
    return given


def show(mask: LabelMask) -> None:
    """Print counts and hash."""
    print(f'protocol {mask.protocol}, seed {mask.seed}, source {mask.source}')
    if mask.options:
        print(f'options {mask.options}')
    table = PrettyTable(['task', 'labels'], align='l')
    for row in mask.counts().items():
        table.add_row(row)
    print(table)
    table = PrettyTable(['labels an image has', 'images'], align='l')
    for number in mask.labels_per_image().items():
        table.add_row(number)
    print(table)
    print(f'{len(mask.labelled)} images, sha256 {mask.sha256}')


def main() -> None:
    """Generate, show or verify."""
    args = parse_args()
    try:
        if args.command == 'generate':
            mask = bound_mask(
                args,
                dict(protocol=args.protocol, seed=args.seed, **options(args)),
            )
            write_label_mask(args.out, mask)
            mask = read_mask_file(args.out)
        elif args.command == 'show':
            mask = read_mask_file(args.file)
        else:
            mask = bound_mask(args, dict(mask_file=args.file))
    except (ValueError, OSError) as error:
        sys.exit(f'refused: {error}')
    show(mask)
    if args.command == 'verify':
        bare = [task for task, n in mask.counts().items() if not n]
        print(
            'it fits the data set'
            + (f', but has no label of {", ".join(bare)}' if bare else '')
        )


if __name__ == '__main__':
    main()
