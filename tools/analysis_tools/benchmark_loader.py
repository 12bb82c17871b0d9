"""How fast a config's images are loaded, and what the workers hold.

python tools/analysis_tools/benchmark_loader.py CONFIG [--workers 0 1 2]
    [--split train] [--images N] [--compare-full] [--repeats 1] [--json FILE]
    [--cfg-options ...]

Nothing is trained: batches are made as in training and dropped. All files are
read once, then measured are

* the time of each step of the pipeline, in this process;
* for each number of workers (0: this process) a whole epoch, from the start
  of the workers on: images per second, memory of the workers after their
  first batches and at each quarter of the epoch (while they work on other
  images), and the most file descriptors open at a time.

--compare-full does all of it twice, in turn: with the labels that the config
gives to its images, and with every label.
"""

import argparse
import os
import sys
import time
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from prettytable import PrettyTable
from torch.utils.data import DataLoader

from mmprotomtl.datasets.check import LOADERS
from mmprotomtl.datasets.transforms import PartialAnnotation
from mmprotomtl.datasets.transforms.partial_annotation import is_step
from mmprotomtl.datasets.unwrap import leaf_datasets
from mmprotomtl.engine import load_config
from mmprotomtl.utils.files import write_json
from mmprotomtl.utils.processes import (
    children,
    memory,
    open_files,
    open_files_limit,
)

#: Memory is measured so often in an epoch.
PARTS = 4


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--split', choices=LOADERS, default='train', help='which loader'
    )
    parser.add_argument(
        '--workers',
        type=int,
        nargs='+',
        help="numbers of workers (default: the config's)",
    )
    parser.add_argument(
        '--images', type=int, help='only the first N images of a data set'
    )
    parser.add_argument(
        '--compare-full',
        action='store_true',
        help='measure the loading of every label too',
    )
    parser.add_argument(
        '--repeats', type=int, default=1, help='epochs; the median counts'
    )
    parser.add_argument('--json', metavar='FILE', help='write the figures')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings that replace those of the config',
    )
    args = parser.parse_args()
    for name, least in (('images', 1), ('repeats', 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            parser.error(f'--{name} {value}: at least {least} is needed')
    if min(args.workers or [0]) < 0:
        parser.error('--workers: at least 0 is needed')
    return args


def loader_cfgs(
    cfg: Config, args: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """What is measured: name -> config of a loader.

    Raises:
        ValueError: There is no such loader, or nothing to compare with.
    """
    given = cfg.get(f'{args.split}_dataloader')
    if not given:
        raise ValueError(f'the config has no {args.split}_dataloader')
    own = given.to_dict()
    for _, part in leaf_datasets(own['dataset']):
        if args.images is not None:
            part['indices'] = args.images
    if not args.compare_full:
        return dict(own=own)
    full, hiding = given.to_dict(), 0
    for _, part in leaf_datasets(full['dataset']):
        if args.images is not None:
            part['indices'] = args.images
        steps = part.get('pipeline') or []
        part['pipeline'] = [
            step for step in steps if not is_step(step, PartialAnnotation)
        ]
        hiding += len(part['pipeline']) < len(steps)
        hiding += part.pop('partial_labels', None) is not None
    if not hiding:
        raise ValueError(
            f'--compare-full: no data set of {args.split}_dataloader has '
            'partial_labels, so there is nothing to compare with'
        )
    return dict(own=own, full=full)


class Timed:
    """A step of a pipeline that keeps the time spent in it."""

    def __init__(self, step: Any, spent: dict[str, float]) -> None:
        self.step = step
        self.name = type(step).__name__
        self.spent = spent

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Run the step."""
        start = time.perf_counter()
        results = self.step(results)
        elapsed = time.perf_counter() - start
        self.spent[self.name] = self.spent.get(self.name, 0) + elapsed
        return results


def time_steps(loader: DataLoader[Any]) -> list[dict[str, Any]]:
    """Milliseconds that each step of the pipeline takes for an image."""
    data: Any = loader.dataset
    spent: dict[str, float] = {}
    found = [part.pipeline for _, part in leaf_datasets(data)]
    kept = [pipeline.transforms for pipeline in found]
    for pipeline in found:
        pipeline.transforms = [Timed(s, spent) for s in pipeline.transforms]
    indices = list(loader.sampler)
    start = time.perf_counter()
    for index in indices:
        data[index]
    total = time.perf_counter() - start
    for pipeline, steps in zip(found, kept, strict=True):
        pipeline.transforms = steps
    spent['(rest)'] = total - sum(spent.values())
    return [
        dict(step=name, ms=1e3 * t / len(indices), share=t / total)
        for name, t in spent.items()
    ]


def build(loader_cfg: dict[str, Any], workers: int) -> DataLoader[Any]:
    """The loader as training has it, with another number of workers."""
    loader_cfg = dict(loader_cfg, num_workers=workers)
    if not workers:
        for key in ('persistent_workers', 'prefetch_factor'):
            loader_cfg.pop(key, None)
    loader: DataLoader[Any] = Runner.build_dataloader(loader_cfg, seed=0)
    return loader


def epoch(loader: DataLoader[Any]) -> dict[str, Any]:
    """Load everything once."""
    workers, total = loader.num_workers, len(loader)
    # Each worker has given its first batch by the first one of these.
    first_all = min(max(workers, 1), total)
    rest = total - first_all
    marks = {first_all + rest * part // PARTS for part in range(PARTS + 1)}
    others = set(children())
    start, first, images = time.perf_counter(), 0.0, 0
    files, worker_files = [0], [0]
    held: list[dict[int, dict[str, Any] | None]] = []
    for number, batch in enumerate(loader, 1):
        pids = [pid for pid in children() if pid not in others]
        images += len(batch['inputs'])
        first = first or time.perf_counter() - start
        files.append(open_files(os.getpid()) or 0)
        worker_files.extend(open_files(pid) or 0 for pid in pids)
        if number in marks:
            held.append({pid: memory(pid) for pid in pids})
    seconds = time.perf_counter() - start
    rate = images / seconds
    return dict(
        workers=workers,
        images=images,
        batches=total,
        seconds=seconds,
        first_batch_s=first,
        images_per_s=rate,
        images_per_s_per_worker=rate / max(workers, 1),
        memory_mib=by_worker(held),
        open_files=max(files),
        open_files_worker=max(worker_files),
    )


def by_worker(
    held: list[dict[int, dict[str, Any] | None]],
) -> list[dict[str, list[float]]]:
    """Memory of each worker, over the epoch."""
    rows = []
    for pid in held[0] if held else ():
        values = [value for moment in held if (value := moment.get(pid))]
        if len(values) == len(held):
            rows.append(
                {
                    kind: [round(value[kind], 1) for value in values]
                    for kind in ('rss', 'pss')
                }
            )
    return rows


def measure(
    cfgs: dict[str, dict[str, Any]], args: argparse.Namespace
) -> dict[str, Any]:
    """All figures, see the module."""
    # The last one reads most: afterwards all find their files in memory.
    time_steps(build(list(cfgs.values())[-1], 0))
    steps = {name: time_steps(build(c, 0)) for name, c in cfgs.items()}
    default = next(iter(cfgs.values())).get('num_workers', 0)
    runs, speedup = [], {}
    for workers in args.workers or [default]:
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in cfgs}
        # In turn, so that what else the machine does hits all alike.
        for _ in range(args.repeats):
            for name, loader_cfg in cfgs.items():
                found[name].append(epoch(build(loader_cfg, workers)))
        rate = {}
        for name, rows in found.items():
            rows.sort(key=lambda row: row['images_per_s'])
            middle = rows[(len(rows) - 1) // 2]
            rate[name] = middle['images_per_s']
            rates = [row['images_per_s'] for row in rows]
            runs.append(dict(labels=name, **middle, rates=rates))
        if 'full' in rate:
            speedup[workers] = rate['own'] / rate['full']
    return dict(
        cores=os.cpu_count(), open_files_limit=open_files_limit(),
        steps=steps, runs=runs, speedup=speedup,
    )  # fmt: skip


def show(report: dict[str, Any]) -> None:
    """Print the tables."""
    for name, steps in report['steps'].items():
        what = {'own': 'labels of the config', 'full': 'every label'}[name]
        table = PrettyTable([f'step ({what})', 'ms an image', 'share'])
        table.align = 'r'
        table.align[table.field_names[0]] = 'l'
        for row in steps:
            table.add_row(
                [row['step'], f'{row["ms"]:.2f}', f'{row["share"]:.1%}']
            )
        total = sum(row['ms'] for row in steps)
        table.add_row(['all', f'{total:.2f}', '100.0%'])
        print(table)
    table = PrettyTable(
        [
            'labels', 'workers', 'images/s', 'per worker', 'first batch (s)',
            'worker RSS (MiB)', 'worker PSS (MiB)', 'open files',
            'in a worker',
        ],
        align='r',
    )  # fmt: skip
    for run in report['runs']:
        table.add_row(
            [
                run['labels'],
                run['workers'],
                f'{run["images_per_s"]:.1f}',
                f'{run["images_per_s_per_worker"]:.1f}',
                f'{run["first_batch_s"]:.2f}',
                *(_change(run['memory_mib'], kind) for kind in ('rss', 'pss')),
                run['open_files'],
                run['open_files_worker'] or '-',
            ]
        )
    print(table)
    print(
        'memory: of the worker that grew most, after its first batch and at '
        'each quarter of the epoch; at most '
        f'{report["open_files_limit"]} files may be open, '
        f'{report["cores"]} cores'
    )
    for workers, factor in report['speedup'].items():
        print(
            f'{workers} workers: {factor:.2f} times as fast as with all labels'
        )


def _change(rows: list[dict[str, Any]], kind: str) -> str:
    if not rows:
        return '-'
    most = max(rows, key=lambda row: row[kind][-1] - row[kind][0])
    return ' '.join(f'{value:.0f}' for value in most[kind])


def main() -> None:
    """Measure."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmprotomtl'))
    mp_cfg = cfg.get('env_cfg', {}).get('mp_cfg', {})
    set_multi_processing(**mp_cfg, distributed=False)
    try:
        report = measure(loader_cfgs(cfg, args), args)
    except ValueError as error:
        sys.exit(f'{args.config}: {error}')
    report = dict(config=args.config, split=args.split, **report)
    show(report)
    if args.json:
        write_json(args.json, report)


if __name__ == '__main__':
    main()
