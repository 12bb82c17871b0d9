"""Score saved edge maps by the boundary benchmark of BSDS500.

python tools/analysis_tools/eval_edges.py PRED_DIR GT_DIR \
    [--protocol default|astmt|mtinet|invpt] [--thresholds 99] \
    [--max-dist 0.0075] [--nms] [--workers N] [--list FILE] \
    [--out metrics.json]

Predictions are PNGs, value / 255 the probability. The ground truth of ID.png
is ID.png (boundary: not black) or ID.mat as in BSDS500 (several annotators).
"""

import argparse
import functools
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mmprotomtl.boundary import (
    count,
    scores,
    suppress,
    thresholds,
)
from mmprotomtl.readers import (
    DataFile,
    read_annotators,
    read_ids,
    read_picture,
)
from mmprotomtl.tasks.edge import EDGE_PROTOCOLS
from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.files import write_json


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description='Score saved edge maps')
    parser.add_argument('pred_dir', type=Path, help='PNGs of predictions')
    parser.add_argument('gt_dir', type=Path, help='PNGs, or .mat of BSDS500')
    parser.add_argument(
        '--protocol',
        choices=sorted(EDGE_PROTOCOLS),
        default='default',
        help='of published tables: number of thresholds, suppression',
    )
    parser.add_argument(
        '--thresholds', type=int, help='their number, over the protocol'
    )
    parser.add_argument(
        '--max-dist',
        type=float,
        default=0.0075,
        help='greatest distance of a pair as a share of the diagonal',
    )
    parser.add_argument(
        '--nms',
        action=argparse.BooleanOptionalAction,
        help='suppress non-maxima first, over the protocol',
    )
    parser.add_argument('--workers', type=int, default=1, help='processes')
    parser.add_argument(
        '--list', type=Path, help='file of ids, one a line: score only these'
    )
    parser.add_argument('--out', type=Path, help='write scores and counts')
    args = parser.parse_args()
    preset = EDGE_PROTOCOLS[args.protocol]
    if args.thresholds is None:
        args.thresholds = preset['num_thresholds']
    if args.nms is None:
        args.nms = preset['nms']
    for name in ('thresholds', 'workers'):
        if getattr(args, name) < 1:
            parser.error(f'--{name}: choose 1 or more')
    if args.max_dist <= 0:
        parser.error('--max-dist: choose a value above 0')
    return args


def read_map(path: Path) -> np.ndarray:
    """The levels that a PNG of one channel shows, 0 .. 255 (or 65535)."""
    file = DataFile(str(path), functools.partial(read_picture, shown=True))
    image = file.load()
    if image.ndim != 2:
        raise DataFileError(
            str(path), f'shape {image.shape}; an edge map has one channel'
        )
    return image


def read_truths(folder: Path, name: str) -> list[np.ndarray]:
    """Each annotator's boundaries, bool ``H x W``."""
    path = folder / f'{name}.mat'
    if not path.is_file():
        return [read_map(folder / f'{name}.png') != 0]
    read: Any = functools.partial(read_annotators, key='groundTruth')
    return [array > 0 for array in DataFile(str(path), read).load()]


def evaluate(name: str, args: argparse.Namespace) -> np.ndarray:
    """The counts of one image."""
    path = args.pred_dir / f'{name}.png'
    pred = read_map(path)
    if pred.dtype != np.uint8:
        raise DataFileError(
            str(path), f'values of type {pred.dtype}; 8 bits are expected'
        )
    truths = read_truths(args.gt_dir, name)
    for truth in truths:
        if truth.shape != pred.shape:
            raise DataFileError(
                str(path),
                f'size {pred.shape}; its ground truth has {truth.shape}',
            )
    try:
        prob = pred / 255
        if args.nms:
            prob = suppress(prob)
        return count(prob, truths, args.max_dist, args.thresholds)
    except MemoryError as error:
        raise DataFileError(
            str(path), f'size {pred.shape}: not enough memory ({error})'
        ) from None


def warn_of_others(folder: Path, names: list[str]) -> None:
    """Say how many images have a ground truth but no prediction."""
    known = {p.stem for p in folder.iterdir() if p.suffix in ('.png', '.mat')}
    others = sorted(known - set(names))
    if others:
        print(
            f'warning: {len(others)} of {len(known)} images in {folder} have '
            f'no prediction and are not scored: {", ".join(others[:5])}',
            file=sys.stderr,
        )


def main() -> None:
    """Score a folder."""
    args = parse_args()
    try:
        if args.list:
            names = read_ids(str(args.list))
        else:
            names = sorted(path.stem for path in args.pred_dir.glob('*.png'))
        if not names:
            raise DataFileError(str(args.pred_dir), 'no image to score')
        if not args.list:
            warn_of_others(args.gt_dir, names)
        work = functools.partial(evaluate, args=args)
        if args.workers == 1:
            counts = list(map(work, names))
        else:
            with multiprocessing.Pool(args.workers) as pool:
                counts = pool.map(work, names, chunksize=1)
    except (DataFileError, OSError) as error:
        sys.exit(str(error))
    total = np.sum(counts, axis=0)
    result = scores(total)
    values = [f'{key} {value:.4f}' for key, value in result.items()]
    print('   '.join([*values, f'images {len(names)}']))
    if args.out:
        result.update(
            images=len(names),
            protocol=args.protocol,
            max_dist=args.max_dist,
            nms=args.nms,
            thresholds=thresholds(args.thresholds).tolist(),
            **{
                key: total[:-1, i].tolist()
                for i, key in enumerate(('cntP', 'sumP', 'cntR', 'sumR'))
            },
        )
        write_json(args.out, result)


if __name__ == '__main__':
    main()
