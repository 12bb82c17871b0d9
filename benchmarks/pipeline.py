"""The input pipeline and the evaluator beside the network's step.

    python benchmarks/pipeline.py CONFIG --workers 0 1 2 --json FILE

For each number of loader workers: images per second of the loader alone, of
the step alone (the same batches, already there) and of both as training runs
them, with the share of the time that the step waits for data. The same of a
test, whose steps are the prediction and the evaluator. The part with the
fewest images per second is the bottleneck.
"""

import argparse
import logging
import os
import time
from collections.abc import Callable, Iterator

import torch
from mmengine.config import DictAction
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from prettytable import PrettyTable

from mmprotomtl.engine import load_config
from mmprotomtl.registry import MODELS
from mmprotomtl.utils.files import write_json


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('config', help='the config file')
    add('--workers', type=int, nargs='+', default=[0, 1, 2])
    add('--batches', type=int, default=12, help='measured, of each part')
    add('--warmup', type=int, default=2, help='batches before')
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--json', help='where the figures go')
    add('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args()


def batches(cfg: dict, workers: int, seed: int = 0) -> Iterator[dict]:
    """Batches of a loader, again from the start when it ends."""
    cfg = dict(cfg, num_workers=workers, persistent_workers=workers > 0)
    loader = Runner.build_dataloader(cfg, seed=seed)
    while True:
        yield from loader


def clock(call: Callable, *args: object) -> tuple[float, object]:
    """Seconds of a call, and what it gave."""
    start = time.perf_counter()
    result = call(*args)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def measure(
    loader: dict,
    parts: dict[str, Callable],
    args: argparse.Namespace,
) -> list[dict]:
    """Each part alone and all together, for each number of workers.

    Args:
        loader: Config of the loader.
        parts: Name -> what is done with a batch and the result of the part
            before it.
        args: The command line.
    """
    rows = []
    for workers in args.workers:
        source = batches(loader, workers)
        total = args.warmup + args.batches
        alone, held = [], []
        for _ in range(total):
            seconds, batch = clock(next, source)
            alone.append(seconds)
            held.append(batch)
        images = sum(len(b['inputs']) for b in held[args.warmup :])
        row = dict(workers=workers, loader=sum(alone[args.warmup :]))
        spent = {name: [] for name in parts}
        for batch in held:
            result = None
            for name, call in parts.items():
                seconds, result = clock(call, batch, result)
                spent[name].append(seconds)
        row.update({n: sum(s[args.warmup :]) for n, s in spent.items()})
        source = batches(loader, workers, seed=1)
        waited = together = 0.0
        for i in range(total):
            wait, batch = clock(next, source)
            work, result = 0.0, None
            for call in parts.values():
                seconds, result = clock(call, batch, result)
                work += seconds
            if i >= args.warmup:
                waited, together = waited + wait, together + wait + work
        del source
        row = {k: v if k == 'workers' else images / v for k, v in row.items()}
        row.update(together=images / together, waiting=waited / together)
        rows.append(row)
    return rows


def show(title: str, rows: list[dict]) -> None:
    """Print a table and what follows from it."""
    table = PrettyTable(list(rows[0]), align='r', title=f'{title}, images/s')
    for row in rows:
        table.add_row(
            [
                f'{v:.1%}' if k == 'waiting' else f'{v:.4g}'
                for k, v in row.items()
            ]
        )
    print(table)
    work = [k for k in rows[0] if k not in ('workers', 'together', 'waiting')]
    for row in rows:
        slowest = min(work, key=lambda name: row[name])
        print(f'{title}, {row["workers"]} workers: bottleneck is {slowest}')
    enough = [row['workers'] for row in rows if row['waiting'] < 0.05]
    found = f'{enough[0]} workers' if enough else 'no number that was tried'
    print(f'{title}: with {found} less than 5 % of the time is waiting')


def main() -> None:
    """Measure and report."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmprotomtl'))
    mp_cfg = cfg.get('env_cfg', {}).get('mp_cfg', {})
    set_multi_processing(**mp_cfg, distributed=False)
    logging.disable(logging.INFO)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.to(args.device)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)

    def step(batch: dict, _: object) -> object:
        model.train()
        return model.train_step(batch, wrapper)

    test_cfg = cfg.test_dataloader
    dataset = Runner.build_dataloader(test_cfg).dataset
    evaluator = Evaluator(cfg.test_evaluator)
    evaluator.dataset_meta = dataset.metainfo

    def prediction(batch: dict, _: object) -> object:
        model.eval()
        with torch.no_grad():
            return model.test_step(batch)

    def scores(batch: dict, samples: list) -> None:
        evaluator.process(data_samples=samples, data_batch=batch)

    report = dict(
        config=args.config,
        machine=dict(
            device=args.device, cores=os.cpu_count(), torch=torch.__version__
        ),
        train=measure(cfg.train_dataloader, dict(step=step), args),
        test=measure(
            test_cfg,
            dict(prediction=prediction, evaluator=scores),
            args,
        ),
    )
    for title in ('train', 'test'):
        show(title, report[title])
    if args.json:
        write_json(args.json, report)


if __name__ == '__main__':
    main()
