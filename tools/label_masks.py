"""Draw, show and check label masks: which image is labelled for which task.

python tools/label_masks.py generate CONFIG --protocol P --seed N --out FILE
python tools/label_masks.py show FILE
python tools/label_masks.py verify FILE CONFIG

A mask that was generated is used by partial_labels=FILE in the training data
set of a config. Where that consists of several data sets, each has a label
mask of its own: --part says which one is meant.
"""

import argparse
import sys
from typing import Any

from mmengine.config import ConfigDict, DictAction
from prettytable import PrettyTable

from mmprotomtl.datasets import MultiTaskDataset
from mmprotomtl.datasets.unwrap import leaf_datasets
from mmprotomtl.engine import load_config
from mmprotomtl.label_masks import (
    PROTOCOLS,
    LabelMask,
    PartialLabels,
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
            '--part',
            metavar='PLACE',
            help='which data set is meant, if the training set consists of '
            'several: datasets.0, datasets.1, ...',
        )
        command.add_argument(
            '--cfg-options',
            nargs='+',
            action=DictAction,
            help='settings that replace those of the config',
        )
    return parser.parse_args()


def mask_of(
    args: argparse.Namespace, partial_labels: dict[str, Any]
) -> LabelMask:
    """The mask of a config's training set, with other ``partial_labels``.

    Raises:
        ValueError: The data set is not known, or the mask does not fit it.
    """
    cfg = load_config(args.config, args.cfg_options)
    part = chosen_part(cfg.train_dataloader.dataset, args.part)
    dataset = DATASETS.build(dict(part, lazy_init=True))
    if not isinstance(dataset, MultiTaskDataset):
        raise ValueError(
            f'{type(dataset).__name__} is no data set of many tasks, it has '
            'no label mask'
        )
    own = dataset.partial_labels
    if own is not None and 'protocol' in partial_labels:
        # A single-task run sees the labels of the multi-task run.
        partial_labels['tasks'] = own.tasks
    dataset.partial_labels = PartialLabels.parse(partial_labels)
    dataset.full_init()
    assert dataset.label_mask is not None
    return dataset.label_mask


def chosen_part(dataset: ConfigDict, part: str | None) -> dict[str, Any]:
    """The config of the data set that is meant.

    Raises:
        ValueError: It is one of several, and ``part`` is none of them.
    """
    parts = dict(leaf_datasets(dataset))
    if part is None and len(parts) == 1:
        part = next(iter(parts))
    if part not in parts:
        known = '; '.join(
            f'{place} ({cfg["type"]} of {cfg.get("data_root")})'
            for place, cfg in parts.items()
        )
        given = '' if part is None else f'--part {part} is none of them. '
        raise ValueError(
            f'train_dataloader.dataset consists of {len(parts)} data sets. '
            f'{given}Each has a label mask of its own; say which one by '
            f'--part: {known}'
        )
    return dict(parts[part])


def options(args: argparse.Namespace) -> dict[str, Any]:
    """The protocol's options, from the command line."""
    given: dict[str, Any] = {}
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
    for part in mask.parts:
        print(
            f'{part["part"]} ({part["type"]}): protocol {part["protocol"]}, '
            f'seed {part["seed"]}, source {part["source"]}, sha256 '
            f'{part["sha256"]}'
        )
    table = PrettyTable(['task', 'labels'], align='l')
    for row in mask.counts().items():
        table.add_row(list(row))
    print(table)
    table = PrettyTable(['labels an image has', 'images'], align='l')
    for number in mask.labels_per_image().items():
        table.add_row(list(number))
    print(table)
    print(f'{len(mask.labelled)} images, sha256 {mask.sha256}')


def main() -> None:
    """Generate, show or verify."""
    args = parse_args()
    try:
        if args.command == 'generate':
            mask = mask_of(
                args,
                dict(protocol=args.protocol, seed=args.seed, **options(args)),
            )
            write_label_mask(args.out, mask)
            mask = read_mask_file(args.out)
        elif args.command == 'show':
            mask = read_mask_file(args.file)
        else:
            mask = mask_of(args, dict(mask_file=args.file))
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
