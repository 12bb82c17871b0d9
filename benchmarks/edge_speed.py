"""Speed of the boundary benchmark: images a second on one core.

    python benchmarks/edge_speed.py [--data ../shared/data/oracles/bsds_bench]

Drawn scenes have many edges (9 % of the pixels); with ``--data`` the five
photos of BSDS500's example are scored, too: the strength of their gradient
against one annotator and against all. Times are those of the processor, so
that others on the machine matter less.

The straight way, for comparison, thins each threshold alone and matches it by
a dense cost matrix; it is timed on few thresholds, on which ours runs too.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from prettytable import PrettyTable
from scipy.io import loadmat
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from mmprotomtl.boundary import count, preference, suppress, thin, thresholds
from mmprotomtl.utils.files import write_json

SIZES = ((160, 240), (227, 340), (321, 481), (454, 680), (642, 962))
NUMBERS = (9, 19, 49, 99, 199)
REACH = 0.0075


def scene(height, width, seed):
    """Regions' boundaries, and a prediction that is off and blurred."""
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 12)
    region = np.digitize(field, np.quantile(field, [0.2, 0.4, 0.6, 0.8]))
    truth = np.zeros((height, width), bool)
    truth[:-1] |= region[:-1] != region[1:]
    truth[:, :-1] |= region[:, :-1] != region[:, 1:]
    truth = thin(truth)
    noise = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 2)
    prob = cv2.GaussianBlur(np.roll(truth, 1, 1) * 1.0, (0, 0), 1.5)
    prob = prob / prob.max() + 0.15 * noise / noise.std()
    return np.rint(prob.clip(0, 1) * 255) / 255, truth


def photo(path, root):
    """The strength of a photo's gradient, and its annotators' boundaries."""
    gray = np.asarray(Image.open(path).convert('L')).astype(float)
    dy, dx = np.gradient(cv2.GaussianBlur(gray, (0, 0), 2))
    strength = np.hypot(dy, dx)
    strength = (strength / np.quantile(strength, 0.99)).clip(0, 1)
    cells = loadmat(root / f'groundTruth/{path.stem}.mat')['groundTruth'][0]
    truths = [cell['Boundaries'][0, 0] > 0 for cell in cells]
    return np.rint(strength * 255) / 255, truths


def straight(prob, truth, number):
    """Pairs at each threshold by dense assignment."""
    reach = REACH * np.hypot(*prob.shape)
    true = np.argwhere(truth)
    found = []
    for threshold in thresholds(number):
        guess = np.argwhere(thin(prob >= threshold))
        near = (
            (guess[:, None] - true[None]) ** 2
        ).sum(-1) <= reach**2  # fmt: skip
        rows, columns = linear_sum_assignment(near, maximize=True)
        found.append(int(near[rows, columns].sum()))
    return found


def straight_several(prob, truths, reach, cuts):
    """Counts at some thresholds as the definition says it, nothing shared.

    For each threshold and each annotator by itself, SciPy finds a full
    matching of least weight of the whole image: a predicted pixel takes a true
    pixel, or a dummy of its own that weighs more than all else. The weight is
    the distance in hundredths of a pixel and, to make the choice between
    equal distances the one of ``count``, the predicted pixel's rank.
    """
    reach *= np.hypot(*prob.shape)
    rank = preference(np.arange(prob.size)).reshape(prob.shape)
    counts = []
    for cut in cuts:
        guess = thin(prob >= cut)
        at, ranks = np.argwhere(guess), rank[guess].argsort().argsort()
        right, found = np.zeros(len(at), bool), 0
        for truth in truths:
            true = np.argwhere(truth)
            pairs = cKDTree(at).sparse_distance_matrix(
                cKDTree(true), reach, output_type='ndarray'
            )
            row, column = pairs['i'], pairs['j']
            most = min(len(at), len(true))
            weight = np.rint(100 * pairs['v']) + 1
            weight = weight * (most * len(at) + 1) + ranks[row]
            dummy = (weight.max(initial=0) + 1) * (most + 1)
            every = np.arange(len(at))
            graph = csr_matrix(
                (
                    np.append(weight, np.full(len(at), dummy)),
                    (
                        np.append(row, every),
                        np.append(column, len(true) + every),
                    ),
                ),
                (len(at), len(true) + len(at)),
            )
            rows, columns = min_weight_full_bipartite_matching(graph)
            held = rows[columns < len(true)]
            right[held] = True
            found += len(held)
        total = sum(int(truth.sum()) for truth in truths)
        counts.append((int(right.sum()), len(at), found, total))
    return np.array(counts)


def seconds(function, *args):
    """Result, and seconds of the processor."""
    start = time.process_time()
    result = function(*args)
    return result, time.process_time() - start


def ours(height, width, number, images):
    """Seconds an image of a drawn scene."""
    spent = 0
    for seed in range(images):
        prob, truth = scene(height, width, seed)
        spent += seconds(count, prob, [truth], REACH, number)[1]
    return spent / images


def growth(sizes, times):
    """The power of the size that the time grows by."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def photos(root, images):
    """Images a second on photos: one annotator, with suppression, and all."""
    paths = sorted((root / 'images').glob('*.jpg'))[:images]
    pairs = [photo(path, root) for path in paths]

    def suppressed(prob, truths):
        return count(suppress(prob), truths, REACH, 99)

    rates = dict(photos=len(pairs))
    for name, function, number in (
        ('one annotator', lambda p, t: count(p, t, REACH, 99), 1),
        ('one annotator, suppression', suppressed, 1),
        ('all annotators', lambda p, t: count(p, t, REACH, 99), None),
    ):
        spent = sum(seconds(function, p, t[:number])[1] for p, t in pairs)
        rates[name] = len(pairs) / spent
    return rates


def several(root, images):
    """All annotators of photos at 99 thresholds, ours and the straight way."""
    quick = slow = 0
    paths = sorted((root / 'images').glob('*.jpg'))[:images]
    for path in paths:
        prob, truths = photo(path, root)
        counts, spent = seconds(count, prob, truths, REACH, 99)
        quick += spent
        expected, spent = seconds(
            straight_several, prob, truths, REACH, thresholds(99)
        )
        slow += spent
        if (counts[:-1] != expected).any():
            raise SystemExit(f'{path}: not the same counts')
    return dict(
        photos=len(paths),
        seconds_ours=quick,
        seconds_straight=slow,
        times_faster=slow / quick,
    )


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description='Speed of odsF')
    parser.add_argument('--images', type=int, default=3)
    parser.add_argument('--data', type=Path, help='folder bsds_bench')
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    cv2.setNumThreads(1)

    few = 4
    prob, truth = scene(321, 481, 0)
    counts, quick = seconds(count, prob, [truth], REACH, few)
    found, slow = seconds(straight, prob, truth, few)
    if counts[:-1, 2].tolist() != found:
        raise SystemExit(f'not the same: {counts[:-1, 2]}, {found}')
    by_size = [ours(*size, 99, args.images) for size in SIZES]
    by_number = [ours(321, 481, number, args.images) for number in NUMBERS]
    pixels = [height * width for height, width in SIZES]
    result = dict(
        images_per_second=1 / by_size[2],
        thresholds_of_straight=few,
        seconds_ours=quick,
        seconds_straight=slow,
        times_faster=slow / quick,
        images_per_second_by_size={
            f'{h}x{w}': 1 / spent
            for (h, w), spent in zip(SIZES, by_size, strict=True)
        },
        images_per_second_by_thresholds={
            str(number): 1 / spent
            for number, spent in zip(NUMBERS, by_number, strict=True)
        },
        power_of_pixels=growth(pixels, by_size),
        power_of_thresholds=growth(NUMBERS, by_number),
    )
    if args.data:
        result['images_per_second_of_photos'] = photos(args.data, args.images)
        result['several_annotators'] = several(args.data, args.images)
    table = PrettyTable(['measured', 'value'], align='l')
    for key, value in result.items():
        nested = value if isinstance(value, dict) else {'': value}
        for inner, number in nested.items():
            table.add_row([f'{key} {inner}'.strip(), f'{number:.3g}'])
    print(table)
    if args.out:
        write_json(args.out, result)


if __name__ == '__main__':
    main()
