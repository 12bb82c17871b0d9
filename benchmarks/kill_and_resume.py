"""Kill short runs at random moments, resume them, compare their ends.

    python benchmarks/kill_and_resume.py [--variant epoch inner ...]
        [--kills 25] [--json FILE]

Each run trains on synthetic scenes, writes checkpoints and evaluates. It is
killed (SIGKILL) in turn at a random moment after its first step, while a
checkpoint is written, while it evaluates and while it loads the checkpoint
that it goes on from, and is started again with --resume until it has been
killed often enough; then it may end. Its weights, the state of its optimizer,
its schedules and its best checkpoint have to be those, bit for bit, of a run
that was left alone.

The variants of the run:

* epoch: one process, a checkpoint at the end of every epoch;
* inner: one process, a checkpoint every 3 steps of epochs of 5;
* teacher: the same with a second network, the mean teacher of
  ``consistency_weight``;
* two-processes: the same in two processes (gloo). A third of the kills meet
  one of the two only, and the run has to end at once by itself;
* sharded: the same again by FlexibleRunner, the weights of a vision
  transformer spread over the two processes (FSDP).

The processes of a run are forked from this one, which has imported the
libraries: that takes longer than all the rest. They are launched and watched
as by torchrun.

The phase of a kill is not guessed: the run notes what it does in a file, which
outlives it, and that note is read after the kill.
"""

import argparse
import contextlib
import copy
import importlib
import json
import multiprocessing
import os
import random
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from prettytable import PrettyTable
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from yapf.yapflib import yapf_api

from mmprotomtl.engine.find_checkpoint import latest_checkpoint
from mmprotomtl.loading.checkpoint_files import load_checkpoint
from mmprotomtl.registry import HOOKS
from mmprotomtl.testing import tiny_run
from mmprotomtl.utils.files import write_json

ROOT = Path(__file__).resolve().parents[1]
#: What a kill aims at, in turn.
AIMS = ('any', 'checkpoint', 'evaluation', 'loading')
#: What a run imports late.
LIBRARIES = (
    'matplotlib.pyplot', 'mmpretrain.models', 'mmprotomtl.visualization',
    'mmseg.visualization', 'setuptools',
)  # fmt: skip
FORK = multiprocessing.get_context('fork')
#: Seconds in which a run has to end that lost one of its processes.
AT_ONCE = 30


if __name__ != '__main__':
    # In the run itself: mmengine formats the config for every checkpoint,
    # which takes longer than all the rest of it.
    yapf_api.FormatCode = lambda text, **_: (text, True)


@HOOKS.register_module(force=True)
class PhaseHook(Hook):
    """Notes what the run is doing; of several processes the first one.

    Args:
        path: The file, of one line: phase and step.
    """

    # Before all others, so that what they do counts to the phase.
    priority = 0

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT)

    def _note(self, runner, phase: str) -> None:
        # In the page cache, where the process's death does not reach.
        if runner.rank == 0:
            text = f'{phase} {runner.iter}'.ljust(40)
            os.pwrite(self.file, text.encode(), 0)

    def before_run(self, runner) -> None:
        """The checkpoint to go on from is about to be loaded."""
        self._note(runner, 'loading')

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """A step begins."""
        self._note(runner, 'training')

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        """A checkpoint is about to be written."""
        self._note(runner, 'checkpoint')

    def before_val_epoch(self, runner) -> None:
        """Evaluation begins."""
        self._note(runner, 'evaluation')

    def after_val_epoch(self, runner, metrics=None) -> None:
        """It has ended."""
        self._note(runner, 'between')


def within_epochs(cfg: Config) -> None:
    """Checkpoints whose interval does not divide an epoch."""
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=3)


def teach(cfg: Config) -> None:
    """A second network, whose weights follow those of the first."""
    within_epochs(cfg)
    cfg.model.consistency = dict(weight=1.0)


def shard(cfg: Config) -> None:
    """Spread the weights of a vision transformer, which FSDP is for."""
    within_epochs(cfg)
    cfg.runner_type = 'FlexibleRunner'
    cfg.strategy = dict(type='mmprotomtl.ShardedStrategy')
    vit = Config.fromfile(ROOT / 'configs/_base_/backbones/vit_large.py')
    small = dict(
        embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48
    )
    cfg.model.pop('backbone')
    cfg.model.backbone = dict(vit.backbone, img_size=64, arch=small)


#: Name -> what it changes in the config, number of processes.
VARIANTS = {
    'epoch': (lambda cfg: None, 1),
    'inner': (within_epochs, 1),
    'teacher': (teach, 1),
    'two-processes': (within_epochs, 2),
    'sharded': (shard, 2),
}


def write_config(path: Path, epochs: int, variant: str) -> None:
    """The config of the run: epochs of five steps of two images."""
    change, processes = VARIANTS[variant]
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run(dict(semseg=dict(num_classes=7), depth={})))
    # So that what the network draws at random matters.
    cfg.model.backbone.drop_path_rate = 0.2
    cfg.param_scheduler = [
        dict(type='MultiStepLR', milestones=[epochs // 2], by_epoch=True),
        dict(type='LinearLR', start_factor=0.1, end=20, by_epoch=False),
    ]
    cfg.train_cfg.update(max_epochs=epochs, val_interval=1)
    cfg.val_dataloader = copy.deepcopy(cfg.test_dataloader)
    cfg.val_dataloader.dataset.split = 'val'
    cfg.default_hooks.checkpoint.save_best = 'depth/RMSE'
    cfg.val_evaluator = cfg.test_evaluator
    cfg.val_cfg = dict()
    cfg.train_dataloader.update(
        num_workers=0, persistent_workers=False, batch_size=2 // processes
    )
    cfg.train_dataloader.dataset.num_scenes = 10
    cfg.custom_imports.imports.append('benchmarks.kill_and_resume')
    cfg.custom_hooks.append(dict(type='PhaseHook', path='set by start()'))
    change(cfg)
    cfg.dump(path)


def launch(argv: list[str], log: Path, ranks: int) -> None:
    """Train in this process, or in several as torchrun starts them."""
    os.setsid()
    torch.set_num_threads(1)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file, stream.fileno())
    if ranks == 1:
        train(argv)
        return
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=ranks, max_restarts=0,
        run_id=str(os.getpid()), rdzv_backend='c10d',
        rdzv_endpoint='localhost:0', start_method='fork',
    )  # fmt: skip
    elastic_launch(config, train)(argv)


def train(argv: list[str]) -> None:
    """Run tools/train.py."""
    sys.argv = argv
    runpy.run_path(argv[0], run_name='__main__')


class Run:
    """A run in a work dir of its own, started as often as wanted.

    Args:
        work_dir: Its work dir.
        config: Its config.
        ranks: Number of processes.
    """

    def __init__(self, work_dir: Path, config: Path, ranks: int) -> None:
        work_dir.mkdir()
        self.work_dir, self.config, self.ranks = work_dir, config, ranks
        self.note = work_dir.with_suffix('.phase')
        self.log = work_dir.with_suffix('.log')

    def start(self) -> None:
        """Start, or go on with, the run."""
        self.note.unlink(missing_ok=True)
        hooks = len(Config.fromfile(self.config).custom_hooks)
        argv = [
            ROOT / 'tools/train.py', '--work-dir', self.work_dir, self.config,
            '--launcher', 'pytorch' if self.ranks > 1 else 'none',
            '--resume', '--cfg-options',
            f'custom_hooks.{hooks - 1}.path={self.note}',
        ]  # fmt: skip
        self.process = FORK.Process(
            target=launch, args=(list(map(str, argv)), self.log, self.ranks)
        )
        self.process.start()

    def phase(self) -> tuple[str, int]:
        """What it does, or did when it was killed, and at which step."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            name, step = self.note.read_text().split()
            return name, int(step)
        return 'starting', 0

    def drafts(self) -> list[Path]:
        """Checkpoints that are being written, or never came to their end."""
        return list(self.work_dir.glob('.[ebi]*.pth.*'))

    def finish(self) -> None:
        """Wait for its end, and stop if it is not a good one."""
        self.process.join()
        if self.process.exitcode:
            raise SystemExit(
                f'the run failed:\n{self.log.read_text()[-5000:]}'
            )

    def kill(self) -> None:
        """Kill all its processes."""
        ranks = self.children()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.wait_for_ranks(ranks)

    def kill_one(self, number: int) -> float:
        """Kill one of several; returns after how many seconds all ended."""
        ranks = self.children()
        begin = time.time()
        os.kill(ranks[number], signal.SIGKILL)
        self.process.join(AT_ONCE)
        if self.process.is_alive():
            self.kill()
            raise SystemExit(f'the run hung without rank {number}')
        if self.process.exitcode == 0:
            raise SystemExit(f'the run ended well without rank {number}')
        self.wait_for_ranks(ranks)
        return round(time.time() - begin, 2)

    def children(self) -> list[int]:
        """The processes that the launcher has started."""
        pid = self.process.pid
        listed = Path(f'/proc/{pid}/task/{pid}/children').read_text()
        return [int(child) for child in listed.split()]

    @staticmethod
    def wait_for_ranks(ranks: list[int]) -> None:
        """Wait until none of them has files open any more."""
        end = time.time() + AT_ONCE
        while any(Path(f'/proc/{pid}/exe').exists() for pid in ranks):
            if time.time() > end:
                raise SystemExit(f'of {ranks} some are left')
            time.sleep(0.01)

    def forget(self) -> None:
        """Begin anew."""
        for file in (*self.work_dir.glob('*.pth'), self.last_note):
            file.unlink()

    @property
    def last_note(self) -> Path:
        """The note of the last checkpoint, by mmengine."""
        return self.work_dir / 'last_checkpoint'


def moment(run: Run, rng: random.Random, aim: str) -> bool:
    """Wait for the moment of a kill; returns False if the run ends before."""
    # Not the first chance: anywhere in the epochs that follow.
    wait, skip = rng.uniform(0, 2), rng.randrange(3)
    deadline, before = None, ''
    while run.process.is_alive():
        phase, _ = run.phase()
        if phase == aim != before:
            skip -= 1
        before = phase
        if aim == 'any':
            if phase not in ('starting', 'loading') and deadline is None:
                deadline = time.time() + wait
            if deadline and time.time() > deadline:
                return True
        elif aim == 'loading' and phase != 'starting':
            time.sleep(wait / 10)
            return run.process.is_alive()
        elif phase == aim and skip < 0:
            if aim == 'evaluation':
                time.sleep(wait / 40)
                return run.process.is_alive()
            if run.drafts():
                return True
        time.sleep(0.0005)
    return False


def kill_once(run: Run, rng: random.Random, aim: str) -> dict | None:
    """Kill the run; returns when, None if it ended before."""
    run.start()
    if not moment(run, rng, aim):
        run.finish()
        return None
    killed: dict[str, Any] = dict(processes='all')
    if run.ranks > 1 and rng.random() < 1 / 3:
        rank = rng.randrange(run.ranks)
        killed = dict(processes=f'rank {rank}', seconds=run.kill_one(rank))
    else:
        run.kill()
    phase, step = run.phase()
    found = re.search(r'resumed epoch: \d+, iter: (\d+)', run.log.read_text())
    return dict(
        aimed_at=aim,
        during=phase,
        step=step,
        **killed,
        half_written_file_left=bool(run.drafts()),
        resumed_from_step=int(found[1]) if found else None,
    )


def values(part: Any, name: str) -> Iterator[tuple[str, Any]]:
    """All that is in a part of a checkpoint, each under a name of its own."""
    if isinstance(part, (dict, list, tuple)):
        pairs = part.items() if isinstance(part, dict) else enumerate(part)
        for key, value in pairs:
            yield from values(value, f'{name}.{key}')
    else:
        yield name, part


def state(run: Run) -> dict[str, Any]:
    """What moves on in a run, at its end."""
    checkpoint = load_checkpoint(latest_checkpoint(run.work_dir))
    names = ('state_dict', 'optimizer', 'param_schedulers')
    found = {k: v for name in names for k, v in values(checkpoint[name], name)}
    # Of the validations, which choose it.
    (best,) = run.work_dir.glob('best_*.pth')
    weights = values(load_checkpoint(best)['state_dict'], 'best')
    return dict(found, **dict(weights), best=best.name)


def compare(killed: Run, straight: Run) -> int:
    """Stop unless two runs ended the same; returns how many tensors are."""
    ours, theirs = state(killed), state(straight)

    def same(a: Any, b: Any) -> bool:
        return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b

    wrong = [
        k for k in theirs if k not in ours or not same(theirs[k], ours[k])
    ]
    if wrong or ours.keys() != theirs.keys():
        raise SystemExit(f'they differ: {wrong[:5]} ... ({len(wrong)})')
    return sum(isinstance(value, torch.Tensor) for value in theirs.values())


def measure(variant: str, kills: int, epochs: int, seed: int) -> dict:
    """All kills of a variant."""
    rng = random.Random(f'{variant} {seed}')
    rows: list[dict] = []
    ends = 0
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, f'{variant}.py')
        write_config(config, epochs, variant)
        ranks = VARIANTS[variant][1]
        straight = Run(Path(folder, 'straight'), config, ranks)
        killed = Run(Path(folder, 'killed'), config, ranks)
        straight.start()
        straight.finish()
        while len(rows) < kills:
            row = kill_once(killed, rng, AIMS[len(rows) % len(AIMS)])
            if row is not None:
                rows.append(dict(kill=len(rows) + 1, **row))
                print(variant, rows[-1], flush=True)
                continue
            # It came to its end: another run takes the rest.
            compare(killed, straight)
            ends += 1
            killed.forget()
        killed.start()
        killed.finish()
        compared = compare(killed, straight)
    counts = {}
    for phase in sorted({row['during'] for row in rows}):
        own = [row for row in rows if row['during'] == phase]
        counts[phase] = dict(
            kills=len(own),
            of_one_process=sum(row['processes'] != 'all' for row in own),
            half_written_file_left=sum(
                row['half_written_file_left'] for row in own
            ),
        )
    commit = subprocess.check_output(
        ['git', 'rev-parse', 'HEAD'], cwd=ROOT, text=True
    )
    return dict(
        torch=torch.__version__, commit=commit.strip(), seed=seed,
        epochs=epochs, threads=1, processes=ranks, by_phase=counts,
        ends=ends + 1, tensors=compared, equal=True, kills=rows,
    )  # fmt: skip


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--variant', nargs='+', choices=VARIANTS, default=list(VARIANTS)
    )
    parser.add_argument('--kills', type=int, default=25, help='of a variant')
    parser.add_argument('--epochs', type=int, default=16)
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument('--json', help='file for the results')
    args = parser.parse_args()
    for name in LIBRARIES:
        importlib.import_module(name)
    found: dict[str, dict] = {}
    if args.json and Path(args.json).exists():
        # Those that are not run now stay.
        found = json.loads(Path(args.json).read_text())
    table = PrettyTable(
        ['variant', 'killed in', 'times', 'one process only', 'half-written']
    )
    table.align = 'l'
    for variant in args.variant:
        found[variant] = measure(variant, args.kills, args.epochs, args.seed)
        for phase, counts in found[variant]['by_phase'].items():
            table.add_row([variant, phase, *counts.values()])
        print(
            f'{variant}: {args.kills} kills; {found[variant]["ends"]} end(s) '
            f'compared, each of {found[variant]["tensors"]} tensors (weights, '
            'buffers, state of the optimizer) and the schedules: those of '
            'the run that was left alone, bit for bit',
            flush=True,
        )
        if args.json:
            write_json(args.json, found)
    print(table)


if __name__ == '__main__':
    main()
