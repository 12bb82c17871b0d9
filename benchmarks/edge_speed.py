"""Speed of the boundary benchmark on one core, on drawn scenes.

python benchmarks/edge_speed.py [--images 3] [--out speed.json]

The straight way, for comparison, thins each threshold alone and matches it by
a dense cost matrix; it is timed on few thresholds, on which ours runs too.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from mmprotomtl.evaluation.boundary import count, thin, thresholds


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


def straight(prob, truth, max_dist, number):
    """Pairs at each threshold by dense assignment."""
    reach = max_dist * np.hypot(*prob.shape)
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


def seconds(function, *args):
    """Result and wall time."""
    start = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - start


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description='Speed of odsF')
    parser.add_argument('--images', type=int, default=3)
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    cv2.setNumThreads(1)

    def ours(height, width, number):
        times = []
        for seed in range(args.images):
            prob, truth = scene(height, width, seed)
            times.append(seconds(count, prob, [truth], 0.0075, number)[1])
        return args.images / sum(times)

    few = 4
    prob, truth = scene(321, 481, 0)
    counts, quick = seconds(count, prob, [truth], 0.0075, few)
    found, slow = seconds(straight, prob, truth, 0.0075, few)
    if counts[:-1, 2].tolist() != found:
        raise SystemExit(f'not the same: {counts[:-1, 2]}, {found}')
    result = dict(
        images_per_second=ours(321, 481, 99),
        thresholds_of_straight=few,
        seconds_ours=quick,
        seconds_straight=slow,
        times_faster=slow / quick,
        images_per_second_by_size={
            f'{h}x{w}': ours(h, w, 99)
            for h, w in ((160, 240), (321, 481), (642, 962))
        },
        images_per_second_by_thresholds={
            str(n): ours(321, 481, n) for n in (9, 19, 49, 99, 199)
        },
    )
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + '\n')


if __name__ == '__main__':
    main()
