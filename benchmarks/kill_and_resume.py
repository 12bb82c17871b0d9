"""Kill a short run at random moments, resume it, compare its end.

    python benchmarks/kill_and_resume.py [--kills 20] [--json FILE]

The run trains on synthetic scenes, writes a checkpoint and evaluates after
every epoch. It is killed (SIGKILL) after a random time, a third of the kills
while a checkpoint is being written, and started again with --resume until it
has been killed often enough; then it may end. Its weights have to be those,
bit for bit, of a run that was left alone.
"""

import argparse
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
from prettytable import PrettyTable

from mmprotomtl.testing import tiny_run
from mmprotomtl.utils.files import write_json

ROOT = Path(__file__).resolve().parents[1]


def write_config(path: Path, epochs: int) -> None:
    """The config of the run."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run(dict(semseg=dict(num_classes=7), depth={})))
    cfg.train_cfg.update(max_epochs=epochs, val_interval=1)
    cfg.val_dataloader = cfg.test_dataloader
    cfg.val_evaluator = cfg.test_evaluator
    cfg.val_cfg = dict()
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.dump(path)


def start(config: Path, work_dir: Path, log: Path) -> subprocess.Popen:
    """Start, or go on with, the run."""
    return subprocess.Popen(
        [
            sys.executable, ROOT / 'tools/train.py', config,
            '--work-dir', work_dir, '--resume',
        ],
        cwd=ROOT,
        # The order of a sum, and with it the last bit, depends on threads.
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
        stdout=log.open('a'),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip


def doing(text: str) -> str:
    """What a log says that the run was doing last."""
    words = {
        'Epoch(train)': 'training',
        'Epoch(val)': 'evaluation',
        'Saving checkpoint': 'checkpoint',
    }
    places = {what: text.rfind(word) for word, what in words.items()}
    last = max(places, key=lambda what: places[what])
    return last if places[last] >= 0 else 'starting'


def kill_once(
    config: Path, work_dir: Path, rng: random.Random, in_checkpoint: bool
) -> str | None:
    """Kill the run; returns what it was doing, None if it ended before."""
    log = work_dir.with_suffix('.log')
    begin = log.stat().st_size if log.exists() else 0
    process = start(config, work_dir, log)
    text = ''
    wait: float | None = None
    while process.poll() is None:
        text = log.read_text()[begin:] if log.exists() else ''
        drafts = list(work_dir.glob('.epoch_*'))
        if in_checkpoint and drafts:
            break
        if not in_checkpoint and 'Epoch(train)' in text:
            # Anywhere in the two epochs or so that follow.
            wait = wait or time.time() + rng.uniform(0, 1.5)
            if time.time() > wait:
                break
        time.sleep(0 if in_checkpoint else 0.01)
    if process.poll() is not None:
        if process.returncode:
            raise SystemExit(f'the run failed:\n{text[-3000:]}')
        return None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return 'writing a checkpoint' if in_checkpoint else doing(text)


def weights(work_dir: Path, epochs: int) -> dict:
    """The weights at the end of a run."""
    path = work_dir / f'epoch_{epochs}.pth'
    return torch.load(path, weights_only=False)['state_dict']


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--epochs', type=int, default=30)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', help='file for the results')
    args = parser.parse_args()
    rng = random.Random(args.seed)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        config = root / 'run.py'
        write_config(config, args.epochs)
        straight, killed = root / 'straight', root / 'killed'
        process = start(config, straight, root / 'straight.log')
        if process.wait():
            raise SystemExit((root / 'straight.log').read_text()[-3000:])
        while len(rows) < args.kills:
            what = kill_once(config, killed, rng, len(rows) % 3 == 2)
            if what is None:
                # It came to its end: another run takes the rest.
                compare(killed, straight, args.epochs)
                for file in killed.glob('*'):
                    if file.is_file():
                        file.unlink()
                continue
            left = sorted(
                int(re.findall(r'\d+', path.name)[0])
                for path in killed.glob('epoch_*.pth')
            )
            rows.append(dict(kill=len(rows) + 1, during=what, epochs=left))
            print(rows[-1], flush=True)
        if start(config, killed, root / 'killed.log').wait():
            raise SystemExit((root / 'killed.log').read_text()[-3000:])
        compare(killed, straight, args.epochs)
    table = PrettyTable(['killed', 'times'])
    for what in sorted({row['during'] for row in rows}):
        table.add_row([what, sum(row['during'] == what for row in rows)])
    print(table)
    print(f'{args.kills} kills; the weights at the end are those of the run '
          'that was left alone, bit for bit')  # fmt: skip
    if args.json:
        write_json(args.json, dict(kills=rows, seed=args.seed, equal=True))


def compare(killed: Path, straight: Path, epochs: int) -> None:
    """Stop unless two runs ended with the same weights."""
    ours, theirs = weights(killed, epochs), weights(straight, epochs)
    wrong = [k for k, v in theirs.items() if not torch.equal(v, ours[k])]
    if wrong or ours.keys() != theirs.keys():
        raise SystemExit(f'weights differ: {wrong[:5]} ... ({len(wrong)})')


if __name__ == '__main__':
    main()
