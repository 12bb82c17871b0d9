"""Time and peak memory of a training step and of inference, side by side.

    python benchmarks/step_time.py --methods mtl protomtl --json FILE

Every option of the problem takes several values, and all combinations are
measured; in each the methods take turns, under all label protocols, so that a
slow moment of the machine meets all of them. Ratios are to the first method,
and to the first protocol of the same method. Where an option has three values
or more, the exponent of growth along it is fitted. ``stl`` is one single-task
network for each task.
"""

import argparse
import itertools
import json
import logging
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from prettytable import PrettyTable
from torch.profiler import ProfilerActivity, profile

from mmprotomtl.engine import load_config
from mmprotomtl.registry import MODELS
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.tasks import build_tasks
from mmprotomtl.utils.files import write_json

BASE = Path(__file__).resolve().parents[1] / 'configs' / '_base_'
BACKBONES = dict(r18='resnet18', r50='resnet50', r101='resnet101')
#: The five of PASCAL-Context first; more than six repeat.
TASKS = dict(
    semseg=dict(type='semseg', num_classes=21),
    human_parts=dict(type='human_parts'),
    sal=dict(type='sal'),
    normals=dict(type='normals'),
    edge=dict(type='edge'),
    depth=dict(type='depth'),
)
LABELS = ('one-label', 'random-label', 'full', 'none')
METHODS = ('stl', 'mtl', 'protomtl')
#: Options that span the grid, and of which growth is fitted if they are
#: numbers.
AXES = ('backbone', 'channels', 'codes', 'size', 'batch', 'tasks')


def task_args(number: int) -> dict:
    """The arguments of ``number`` tasks."""
    kinds = itertools.cycle(TASKS.items())
    chosen = {}
    for i in range(number):
        name, args = next(kinds)
        chosen[name if i < len(TASKS) else f'{name}_{i}'] = dict(args)
    return chosen


def model_config(method: str, tasks: dict, args: argparse.Namespace) -> Config:
    """The config of a method, of the files that every run inherits."""
    name = 'protomtl' if method == 'protomtl' else 'mtl'
    cfg = Config.fromfile(BASE / 'models' / f'{name}.py')
    stem = BACKBONES.get(args.backbone, args.backbone)
    cfg.merge_from_dict(
        dict(Config.fromfile(BASE / 'backbones' / f'{stem}.py'), tasks=tasks)
    )
    options = dict(channels=args.channels)
    if method == 'protomtl':
        options.update(num_codes=args.codes, code_dim=args.channels)
        if args.token_stride:
            options['token_stride'] = args.token_stride
    return load_config(cfg, options)


def labelled(protocol: str, image: int, names: list[str]) -> list[str]:
    """Which tasks an image has labels of."""
    if protocol == 'full':
        return names
    if protocol == 'none':
        return []
    if protocol == 'one-label':
        return [names[image % len(names)]]
    rng = np.random.default_rng(image)
    number = rng.integers(1, max(len(names), 2))
    return list(rng.permutation(names)[:number])


def batch_of(tasks: dict, labels: str, args: argparse.Namespace) -> dict:
    """A batch as the loader gives it: noise, and labels that are allowed."""
    built = build_tasks(tasks)
    generator = torch.Generator().manual_seed(0)
    height, width = args.size
    batch: dict = dict(inputs=[], data_samples=[])
    for i in range(args.batch):
        shape = (3, height, width)
        batch['inputs'].append(
            torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        )
        maps = {}
        for name in labelled(labels, i, sorted(tasks)):
            task = built[name]
            noise = torch.rand(
                task.label_channels, height, width, generator=generator
            )
            if task.label_dtype is np.uint8:
                maps[name] = (noise > 0.5).to(torch.uint8)
            else:
                maps[name] = torch.nn.functional.normalize(noise + 0.1, dim=0)
        sample = MultiTaskDataSample(metainfo=dict(sample_id=str(i)))
        sample.gt_maps = PixelData(**maps)
        batch['data_samples'].append(sample)
    return batch


class Contender:
    """The networks of a method, and what is done to them."""

    def __init__(self, method: str, args: argparse.Namespace) -> None:
        tasks = task_args(args.tasks)
        parts = [{n: a} for n, a in tasks.items()]
        self.runs = []
        self.amp = args.amp
        for own in parts if method == 'stl' else [tasks]:
            torch.manual_seed(0)
            cfg = model_config(method, own, args)
            model = MODELS.build(cfg.model)
            model.init_weights()
            model.to(args.device)
            wrapper = dict(optimizer=dict(type='Adam', lr=2e-5))
            if args.amp:
                wrapper.update(type='AmpOptimWrapper', dtype=args.amp)
                wrapper['loss_scale'] = (
                    'dynamic' if args.amp == 'float16' else 1.0
                )
            wrapper = build_optim_wrapper(model, wrapper)
            self.runs.append((model, wrapper))
        self.batches = {
            labels: batch_of(tasks, labels, args) for labels in args.labels
        }

    def train(self, labels: str) -> None:
        """A training step of each network, as mmengine's loop does it."""
        for model, wrapper in self.runs:
            model.train()
            model.train_step(self._batch(model, labels), wrapper)

    def test(self, labels: str) -> None:
        """Predictions of each network."""
        for model, _ in self.runs:
            model.eval()
            with torch.autocast(
                next(model.parameters()).device.type,
                dtype=getattr(torch, self.amp or 'bfloat16'),
                enabled=bool(self.amp),
            ):
                model.test_step(self._batch(model, labels))

    def _batch(self, model: torch.nn.Module, labels: str) -> dict:
        """A copy of the batch, with the labels of the model's tasks."""
        batch = self.batches[labels]
        samples = [sample.clone() for sample in batch['data_samples']]
        for sample in samples:
            for name in set(sample.gt_maps.keys()) - set(model.tasks):
                sample.gt_maps.pop(name)
        return dict(inputs=list(batch['inputs']), data_samples=samples)

    @property
    def parameters(self) -> int:
        """Number of parameters of all networks."""
        return sum(p.numel() for r in self.runs for p in r[0].parameters())


def timed(call, device: str) -> float:
    """Seconds of a call."""
    if device == 'cuda':
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_memory(
    method: str, what: str, labels: str, args: argparse.Namespace
) -> float:
    """Peak of all that is allocated for a step, weights included, in MiB."""
    if args.device == 'cuda':
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        contender = Contender(method, args)
        getattr(contender, what)(labels)
        torch.cuda.reset_peak_memory_stats()
        getattr(contender, what)(labels)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(
        activities=[ProfilerActivity.CPU], profile_memory=True
    ) as prof:
        contender = Contender(method, args)
        getattr(contender, what)(labels)
        getattr(contender, what)(labels)
    with tempfile.NamedTemporaryFile(suffix='.json') as file:
        prof.export_chrome_trace(file.name)
        events = json.loads(Path(file.name).read_text())['traceEvents']
    memory = sorted(
        (event['ts'], event['args']['Total Allocated'], event['args']['Bytes'])
        for event in events
        if event.get('name') == '[memory]'
    )
    # What earlier profiles left behind is still counted in the total.
    _, total, first = memory[0]
    peak = max(total for _, total, _ in memory)
    return (peak - (total - first)) / 2**20


def measure(args: argparse.Namespace) -> list[dict]:
    """All methods, under all label protocols, on one problem."""
    rows = []
    contenders = {m: Contender(m, args) for m in args.methods}
    # A prediction does not depend on labels.
    times: dict = {
        (method, what, labels): []
        for what in args.what
        for labels in (args.labels if what == 'train' else args.labels[:1])
        for method in args.methods
    }
    for turn in range(args.warmup + args.repeats):
        for (method, what, labels), found in times.items():
            call = partial(getattr(contenders[method], what), labels)
            seconds = timed(call, args.device)
            if turn >= args.warmup:
                found.append(seconds)
    sizes = {m: c.parameters for m, c in contenders.items()}
    del contenders
    problem = {axis: getattr(args, axis) for axis in AXES}
    for (method, what, labels), found in times.items():
        memory = None
        if not args.no_memory:
            memory = peak_memory(method, what, labels, args)
        rows.append(
            dict(
                problem,
                labels=labels,
                method=method,
                what=what,
                parameters=sizes[method],
                seconds=statistics.median(found),
                all_seconds=found,
                memory_mib=memory,
            )
        )
    for row in rows:
        of_kind = [r for r in rows if r['what'] == row['what']]
        first = next(r for r in of_kind if r['labels'] == row['labels'])
        row['time_ratio'] = time_ratio(row, first)
        if first['memory_mib']:
            row['memory_ratio'] = row['memory_mib'] / first['memory_mib']
        first = next(r for r in of_kind if r['method'] == row['method'])
        row['labels_time_ratio'] = time_ratio(row, first)
    return rows


def time_ratio(row: dict, other: dict) -> float:
    """How much longer a row took: of each turn, then the median, since both
    of a turn met the same machine.
    """
    both = zip(row['all_seconds'], other['all_seconds'], strict=True)
    return statistics.median(a / b for a, b in both)


def exponents(rows: list[dict]) -> list[dict]:
    """Exponents of growth along the options with three values or more."""
    found = []
    for axis in AXES:
        values = {_number(row[axis]) for row in rows}
        if len(values) < 3 or None in values:
            continue
        groups: dict = {}
        for row in rows:
            others = (*AXES, 'labels', 'method', 'what')
            rest = {a: row[a] for a in others if a != axis}
            groups.setdefault(json.dumps(rest), []).append(row)
        for key, members in groups.items():
            fit = dict(axis=axis, **json.loads(key))
            x = np.log([_number(row[axis]) for row in members])
            for name in ('seconds', 'memory_mib'):
                if members[0][name]:
                    y = np.log([row[name] for row in members])
                    fit[f'{name}_exponent'] = float(np.polyfit(x, y, 1)[0])
            found.append(fit)
    return found


def _number(value: object) -> float | None:
    """An option's value as a number: of a size, its geometric mean side."""
    if isinstance(value, (list, tuple)):
        return float(np.prod(value)) ** 0.5
    return float(value) if isinstance(value, (int, float)) else None


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--backbone', nargs='+', default=['r18'], help='files of '
        'configs/_base_/backbones, or r18, r50, r101')  # fmt: skip
    add('--channels', nargs='+', type=int, default=[512])
    add('--codes', nargs='+', type=int, default=[4096])
    add('--size', nargs='+', type=int, default=[256, 256], metavar='H W',
        help='one or several pairs')  # fmt: skip
    add('--batch', nargs='+', type=int, default=[2])
    add('--tasks', nargs='+', type=int, default=[5])
    add('--labels', nargs='+', choices=LABELS, default=['one-label'])
    add('--methods', nargs='+', choices=METHODS, default=['mtl', 'protomtl'])
    add('--what', nargs='+', choices=('train', 'test'), default=['train'])
    add('--token-stride', type=int)
    add('--amp', choices=('bfloat16', 'float16'))
    add('--repeats', type=int, default=7)
    add('--warmup', type=int, default=2)
    add('--no-memory', action='store_true', help='times only')
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--json', help='where the figures go')
    args = parser.parse_args()
    if len(args.size) % 2:
        parser.error('--size: give pairs of height and width')
    return args


def main() -> None:
    """Measure and report."""
    args = parse_args()
    # mmengine lists every parameter that it initialises.
    logging.disable(logging.INFO)
    pairs = list(zip(args.size[::2], args.size[1::2], strict=True))
    grid = [pairs if a == 'size' else getattr(args, a) for a in AXES]
    rows = []
    for values in itertools.product(*grid):
        one = argparse.Namespace(**vars(args))
        vars(one).update(zip(AXES, values, strict=True))
        rows += measure(one)
        print('.', end='', flush=True)
    table = PrettyTable(
        [*AXES, 'labels', 'method', 'what', 'M params', 'ms', 'x method']
        + ['x labels', 'MiB', 'x mem'],
        align='r',
    )
    for row in rows:
        memory, ratio = row['memory_mib'], row.get('memory_ratio')
        table.add_row(
            [row[a] for a in (*AXES, 'labels', 'method', 'what')]
            + [f'{row["parameters"] / 1e6:.2f}']
            + [f'{1000 * row["seconds"]:.0f}', f'{row["time_ratio"]:.3f}']
            + [f'{row["labels_time_ratio"]:.3f}']
            + [f'{memory:.0f}' if memory else '']
            + [f'{ratio:.3f}' if ratio else '']
        )
    print(f'\n{table}')
    fits = exponents(rows)
    for fit in fits:
        print(
            f'{fit["method"]} {fit["what"]} {fit["labels"]}: grows with '
            f'{fit["axis"]} ** {fit["seconds_exponent"]:.2f} in time, ** '
            f'{fit.get("memory_mib_exponent", float("nan")):.2f} in memory'
        )
    if args.json:
        machine = dict(
            device=args.device,
            threads=torch.get_num_threads(),
            torch=torch.__version__,
            amp=args.amp,
        )
        if args.device == 'cuda':
            machine['device'] = torch.cuda.get_device_name()
        write_json(args.json, dict(machine=machine, rows=rows, growth=fits))


if __name__ == '__main__':
    main()
