"""Peak memory of an evaluation against the number of images.

    python benchmarks/eval_memory.py --images 50 650 --json FILE

Each number of images is scored in a process of its own: labels of six tasks
of ten drawn scenes, and predictions from smooth noise, go one by one and again
and again through ``MultiTaskMetric``, as a test hands them over. Printed are
the most memory that the process ever had, and how much of it came after each
of the ten had been scored once. Edges are scored by the whole benchmark, with
99 thresholds.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from prettytable import PrettyTable
from torch.nn import functional as F

from mmprotomtl.evaluation import MultiTaskMetric
from mmprotomtl.tasks import build_tasks
from mmprotomtl.testing import scene_batch
from mmprotomtl.utils.files import write_json

TASKS = dict(
    semseg=dict(num_classes=7),
    human_parts=dict(),
    sal=dict(),
    normals=dict(),
    edge=dict(),
    depth=dict(),
)


def parse_args():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, nargs='+', default=[50, 650])
    parser.add_argument('--size', type=int, nargs=2, default=[288, 384])
    parser.add_argument(
        '--tasks', nargs='+', choices=list(TASKS), default=list(TASKS)
    )
    parser.add_argument('--json', help='file for the results')
    parser.add_argument('--one', type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def peak():
    """The most memory that this process had, in MiB."""
    value = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return value / 2**20 if sys.platform == 'darwin' else value / 2**10


def samples(args, size, number=10):
    """Scenes' labels, and predictions that know nothing of them."""
    tasks = build_tasks(args)
    batch = scene_batch([list(args)] * number, size, args)
    coarse = [side // 8 for side in size]
    result = []
    for sample in batch['data_samples']:
        preds = {}
        for name, task in tasks.items():
            noise = 3 * torch.randn(1, task.out_channels, *coarse)
            logits = F.interpolate(noise, size, mode='bicubic')
            preds[name] = task.predict(logits)[0]
        labels = dict(sample.gt_maps.items())
        result.append(dict(gt_maps=labels, pred_maps=preds))
    return result


def evaluate(images, size, names):
    """Score ``images`` images in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    args = {name: TASKS[name] for name in names}
    data = samples(args, size)
    metric = MultiTaskMetric(tasks=args)
    start = time.perf_counter()
    for i in range(images):
        metric.process(None, [data[i % len(data)]])
        if i < len(data):
            before = peak()
    scores = metric.evaluate(images)
    return dict(
        images=images,
        peak_mib=round(peak(), 1),
        after_ten_mib=round(before, 1),
        grown_mib=round(peak() - before, 1),
        seconds=round(time.perf_counter() - start, 1),
        **{k: round(v, 2) for k, v in scores.items() if 'odsF' in k},
    )


def main():
    """Measure."""
    args = parse_args()
    if args.one:
        print(json.dumps(evaluate(args.one, args.size, args.tasks)))
        return
    rows = []
    for images in args.images:
        done = subprocess.run(
            [
                sys.executable, __file__, '--one', str(images), '--size',
                *map(str, args.size), '--tasks', *args.tasks,
            ],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    table = PrettyTable(list(rows[0]), align='r')
    table.add_rows([list(row.values()) for row in rows])
    print(table)
    if args.json:
        write_json(args.json, dict(size=args.size, rows=rows))


if __name__ == '__main__':
    main()
