"""Kill a short run at random moments, resume it, compare its end.

    python benchmarks/kill_and_resume.py [--kills 24] [--json FILE]

The run trains on synthetic scenes, writes a checkpoint and evaluates after
every epoch. It is killed (SIGKILL) a third of the times each at a random
moment after its first step, while a checkpoint is written, and while it
evaluates, and is started again with --resume until it has been killed often
enough; then it may end. Its weights and the state of its optimizer have to be
those, bit for bit, of a run that was left alone.

The phase of a kill is not guessed: the run notes what it does in a file, which
outlives it, and that note is read after the kill.
"""

import argparse
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from prettytable import PrettyTable

from mmprotomtl.loading.checkpoint_files import load_checkpoint
from mmprotomtl.registry import HOOKS
from mmprotomtl.testing import tiny_run
from mmprotomtl.utils.files import write_json

ROOT = Path(__file__).resolve().parents[1]
#: What a kill aims at, in turn.
AIMS = ('any', 'checkpoint', 'evaluation')


@HOOKS.register_module(force=True)
class PhaseHook(Hook):
    """Notes what the run is doing.

    Args:
        path: The file, of one line: phase and step.
    """

    # Before all others, so that what they do counts to the phase.
    priority = 0

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def _note(self, runner, phase: str) -> None:
        # In the page cache, where the process's death does not reach.
        text = f'{phase} {runner.iter}'.ljust(40)
        os.pwrite(self.file, text.encode(), 0)

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


def write_config(path: Path, epochs: int) -> None:
    """The config of the run."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run(dict(semseg=dict(num_classes=7), depth={})))
    cfg.train_cfg.update(max_epochs=epochs, val_interval=1)
    cfg.val_dataloader = cfg.test_dataloader
    cfg.val_evaluator = cfg.test_evaluator
    cfg.val_cfg = dict()
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.custom_imports.imports.append('benchmarks.kill_and_resume')
    cfg.custom_hooks.append(dict(type='PhaseHook', path='set by start()'))
    cfg.dump(path)


def start(config: Path, work_dir: Path) -> subprocess.Popen:
    """Start, or go on with, the run."""
    hooks = len(Config.fromfile(config).custom_hooks)
    phase = work_dir.with_suffix('.phase')
    phase.unlink(missing_ok=True)
    return subprocess.Popen(
        [
            sys.executable, ROOT / 'tools/train.py', config,
            '--work-dir', work_dir, '--resume', '--cfg-options',
            f'custom_hooks.{hooks - 1}.path={phase}',
        ],
        cwd=ROOT,
        # The order of a sum, and with it the last bit, depends on threads.
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
        stdout=work_dir.with_suffix('.log').open('w'),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip


def phase_of(work_dir: Path) -> tuple[str, int]:
    """What the run does, or did when it was killed, and at which step."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        name, step = work_dir.with_suffix('.phase').read_text().split()
        return name, int(step)
    return 'starting', 0


def drafts_of(work_dir: Path) -> list[Path]:
    """Checkpoints that are being written, or never came to their end."""
    return list(work_dir.glob('.epoch_*'))


def finish(process: subprocess.Popen, work_dir: Path) -> None:
    """Wait for a run's end, and stop if it is not a good one."""
    if process.wait():
        text = work_dir.with_suffix('.log').read_text()
        raise SystemExit(f'the run failed:\n{text[-3000:]}')


def kill_once(
    config: Path, work_dir: Path, rng: random.Random, aim: str
) -> dict | None:
    """Kill the run; returns when, None if it ended before."""
    process = start(config, work_dir)
    # Not the first chance: anywhere in the epochs that follow.
    wait, skip = rng.uniform(0, 2.5), rng.randrange(3)
    deadline, before = None, ''
    while process.poll() is None:
        phase, _ = phase_of(work_dir)
        if phase == aim != before:
            skip -= 1
        before = phase
        if phase != 'starting' and deadline is None:
            deadline = time.time() + wait
        if aim == 'any':
            if deadline and time.time() > deadline:
                break
            time.sleep(0.002)
        elif phase == aim and skip < 0:
            if aim == 'evaluation':
                time.sleep(rng.uniform(0, 0.05))
                break
            if drafts_of(work_dir):
                break
    if process.poll() is not None:
        finish(process, work_dir)
        return None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    phase, step = phase_of(work_dir)
    log = work_dir.with_suffix('.log').read_text()
    resumed = re.findall(r'resumed epoch: (\d+)', log)
    return dict(
        aimed_at=aim,
        during=phase,
        step=step,
        half_written_file_left=bool(drafts_of(work_dir)),
        resumed_from_epoch=int(resumed[0]) if resumed else None,
    )


def state(work_dir: Path, epochs: int) -> dict[str, torch.Tensor]:
    """Weights, and moments of the optimizer, at the end of a run."""
    path = work_dir / f'epoch_{epochs}.pth'
    checkpoint = load_checkpoint(str(path))
    moments = {
        f'optimizer.{number}.{key}': value
        for number, values in checkpoint['optimizer']['state'].items()
        for key, value in values.items()
    }
    return {**checkpoint['state_dict'], **moments}


def compare(killed: Path, straight: Path, epochs: int) -> int:
    """Stop unless two runs ended the same; returns how much was compared."""
    ours, theirs = state(killed, epochs), state(straight, epochs)
    wrong = [k for k, v in theirs.items() if not torch.equal(v, ours[k])]
    if wrong or ours.keys() != theirs.keys():
        raise SystemExit(f'weights differ: {wrong[:5]} ... ({len(wrong)})')
    return len(theirs)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=int, default=24)
    parser.add_argument('--epochs', type=int, default=40)
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument('--json', help='file for the results')
    args = parser.parse_args()
    rng = random.Random(args.seed)
    rows: list[dict] = []
    ends = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        config = root / 'run.py'
        write_config(config, args.epochs)
        straight, killed = root / 'straight', root / 'killed'
        for place in (straight, killed):
            place.mkdir()
        finish(start(config, straight), straight)
        while len(rows) < args.kills:
            row = kill_once(config, killed, rng, AIMS[len(rows) % 3])
            if row is not None:
                rows.append(dict(kill=len(rows) + 1, **row))
                print(rows[-1], flush=True)
                continue
            # It came to its end: another run takes the rest.
            compare(killed, straight, args.epochs)
            ends += 1
            for file in killed.glob('*.pth'):
                file.unlink()
            (killed / 'last_checkpoint').unlink()
        finish(start(config, killed), killed)
        compared = compare(killed, straight, args.epochs)
        ends += 1
    table = PrettyTable(['killed in', 'times', 'half-written file left'])
    table.align = 'l'
    counts = {}
    for phase in sorted({row['during'] for row in rows}):
        own = [row for row in rows if row['during'] == phase]
        left = sum(row['half_written_file_left'] for row in own)
        counts[phase] = dict(kills=len(own), half_written_file_left=left)
        table.add_row([phase, len(own), left])
    print(table)
    print(
        f'{len(rows)} kills; {ends} end(s) compared: {compared} tensors '
        '(weights, buffers, moments of the optimizer) are those of the run '
        'that was left alone, bit for bit'
    )
    if args.json:
        summary = dict(by_phase=counts, ends=ends, tensors=compared)
        settings = dict(seed=args.seed, epochs=args.epochs, threads=1)
        write_json(
            args.json,
            dict(**settings, **summary, equal=True, kills=rows,
                 torch=torch.__version__),
        )  # fmt: skip


if __name__ == '__main__':
    main()
