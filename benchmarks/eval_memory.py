"""Peak memory of an evaluation against the number of images.

    python benchmarks/eval_memory.py --images 50 650 --json FILE

Each number of images is scored in a process of its own: random predictions of
six tasks at ``--size`` go one by one through ``MultiTaskMetric``, as a test
hands them over. Printed are the most memory that the process ever had, and
how much of it came with the evaluation.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from prettytable import PrettyTable

from mmprotomtl.evaluation import MultiTaskMetric
from mmprotomtl.tasks import build_tasks
from mmprotomtl.utils.files import write_json

TASKS = dict(
    semseg=dict(num_classes=21),
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


def random_sample(tasks, size, generator):
    """Labels and predictions of one image, from noise."""
    height, width = size
    labels, preds = {}, {}
    for name, task in tasks.items():
        shape = (task.label_channels, height, width)
        logits = torch.randn(
            (1, task.out_channels, height, width), generator=generator
        )
        preds[name] = task.predict(logits)[0]
        if task.label_channels == 1:
            top = getattr(task, 'num_classes', 2)
            label = torch.randint(0, top, shape, generator=generator)
        else:
            label = torch.randn(shape, generator=generator)
            label /= label.norm(dim=0)
        labels[name] = label
    return dict(gt_maps=labels, pred_maps=preds)


def evaluate(images, size, names):
    """Score ``images`` images in this process."""
    torch.set_num_threads(1)
    args = {name: TASKS[name] for name in names}
    tasks = build_tasks(args)
    metric = MultiTaskMetric(tasks=args)
    generator = torch.Generator().manual_seed(0)
    # What a first image needs (libraries, buffers) is no growth.
    metric.process(None, [random_sample(tasks, size, generator)])
    before, start = peak(), time.perf_counter()
    for _ in range(images - 1):
        metric.process(None, [random_sample(tasks, size, generator)])
    metric.evaluate(images)
    return dict(
        images=images,
        peak_mib=round(peak(), 1),
        after_first_image_mib=round(before, 1),
        grown_mib=round(peak() - before, 1),
        seconds=round(time.perf_counter() - start, 1),
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
