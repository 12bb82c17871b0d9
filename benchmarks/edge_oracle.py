"""Our boundary benchmark against the Matlab outputs of BSDS500's own example.

    python benchmarks/edge_oracle.py ../shared/data/oracles/bsds_bench

Five images, four runs on them that are boundary benchmarks (a contour map, a
PNG, and segmentations in two ways). Matlab's files hold precision and recall
with six digits. The numbers of true pixels and of predicted ones need no
matching; times them, recall and precision give back the counts of matched
pixels, which are whole numbers only if Matlab counted the same pixels.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat

from mmprotomtl.boundary import count, count_maps, scores, thin

RUNS = ('test_1', 'test_2', 'test_3', 'test_4')
NAMES = ('2018', '3063', '5096', '6046', '8068')
WHAT = dict(
    test_1='contour map', test_2='PNG', test_3='segments', test_4='segments'
)


def boundaries(segmentation):
    """Where one of a pixel's right and lower neighbours is another region."""
    padded = np.pad(segmentation, ((0, 1), (0, 1)), mode='edge')
    own = padded[:-1, :-1]
    return (
        (own != padded[1:, :-1])
        | (own != padded[:-1, 1:])
        | (own != padded[1:, 1:])
    )


def counts_of(root, run, name):
    """Our counts of an image."""
    cells = loadmat(root / f'groundTruth/{name}.mat')['groundTruth'][0]
    truths = [cell['Boundaries'][0, 0] > 0 for cell in cells]
    if run == 'test_1':
        prob = loadmat(root / f'ucm2/{name}.mat')['ucm2'][2::2, 2::2]
    elif run == 'test_2':
        prob = np.asarray(Image.open(root / f'png/{name}.png')) / 255
    else:
        segs = loadmat(root / f'segs/{name}.mat')['segs'][0]
        maps = np.stack([thin(boundaries(seg)) for seg in segs])
        return count_maps(maps, truths, 0.0075)
    return count(prob, truths, 0.0075, 5)


def compare(root, run):
    """Ours and Matlab's.

    Returns:
        Name -> (ours, Matlab's), arrays: ``scores`` (ODS, OIS, AP), ``cntR``
        and ``cntP`` at each threshold, ``images`` (recall and precision of
        each image at its best threshold, images x 2).
    """
    each = np.stack([counts_of(root, run, name) for name in NAMES])
    total = each.sum(0)
    right, guessed, found, true = total[:-1].T
    best = each[:, -1].astype(float)
    ods, ois, ap = np.loadtxt(root / run / 'eval_bdry.txt')[[3, 6, 7]]
    _, recall, precision, _ = np.loadtxt(root / run / 'eval_bdry_thr.txt').T
    images = np.loadtxt(root / run / 'eval_bdry_img.txt')[:, 2:4]
    return dict(
        scores=(np.array(list(scores(total).values())), (ods, ois, ap)),
        cntR=(found, recall * true),
        cntP=(right, precision * guessed),
        images=(best[:, [2, 0]] / best[:, [3, 1]], images),
    )


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description='Ours and Matlab, edges')
    parser.add_argument('root', type=Path, help='folder bsds_bench')
    root = parser.parse_args().root
    table = [('run', 'ODS', 'OIS', 'AP', 'cntR', 'cntP', 'images')]
    lines = [('run', 'threshold', 'cntR', 'cntP')]
    for run in RUNS:
        got = compare(root, run)
        cells = [
            f'{ours:.5f} / {theirs:.5f} / {ours - theirs:+.5f}'
            for ours, theirs in zip(*got['scores'], strict=True)
        ]
        for key in ('cntR', 'cntP', 'images'):
            ours, theirs = got[key]
            cells.append(f'{100 * np.abs(ours / theirs - 1).max():.2f} %')
        table.append((f'{run}, {WHAT[run]}', *cells))
        for k in range(5):
            cells = [
                f'{ours[k]} / {round(theirs[k])} / '
                f'{100 * (ours[k] / theirs[k] - 1):+.2f} %'
                for ours, theirs in (got['cntR'], got['cntP'])
            ]
            lines.append((run, f'{k + 1} / 6', *cells))
    print('ours / Matlab / difference; then the largest relative difference')
    for rows in (table, lines):
        rows.insert(1, ['---'] * len(rows[0]))
        print('\n'.join(f'| {" | ".join(row)} |' for row in rows), '\n')


if __name__ == '__main__':
    main()
