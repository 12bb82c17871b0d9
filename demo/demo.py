"""The demo of the README: train the method on built-in data, test, draw.

    python demo/demo.py [--config CONFIG] [--work-dir D]

Runs the two command lines that a user would run, and compares the scores with
those of the same network before training.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from mmengine.runner import Runner
from prettytable import PrettyTable

from mmprotomtl.engine import load_config
from mmprotomtl.tasks import build_tasks

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/protomtl/protomtl_r18_1xb8-demo_synthetic-96x128-onelabel.py'


def run(*command: str) -> None:
    """Show and run one of our tools."""
    print('\n$ python ' + ' '.join(command), flush=True)
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)


def untrained_scores(config: Path, work_dir: Path) -> dict[str, float]:
    """Scores of the network as it is initialised."""
    cfg = load_config(config)
    cfg.work_dir = str(work_dir)
    cfg.log_level = 'WARNING'
    return Runner.from_cfg(cfg).test()


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--config', default=CONFIG)
    parser.add_argument('--work-dir', default='work_dirs/demo')
    args = parser.parse_args()
    start = time.time()
    work_dir = ROOT / args.work_dir
    config = ROOT / args.config
    before = untrained_scores(config, work_dir / 'untrained')
    run('tools/train.py', args.config, '--work-dir', args.work_dir)
    checkpoint = Path((work_dir / 'last_checkpoint').read_text())
    pictures = f'{args.work_dir}/pictures'
    run(
        'tools/test.py', args.config, str(checkpoint.relative_to(ROOT)),
        '--work-dir', args.work_dir, '--show-dir', pictures,
    )  # fmt: skip
    after = json.loads((work_dir / 'metrics.json').read_text())['metrics']

    tasks = build_tasks(load_config(config).tasks)
    table = PrettyTable(['score', 'untrained', 'trained', 'better is'])
    table.align = 'l'
    for name, task in tasks.items():
        key = f'{name}/{task.standing_metric}'
        higher = 'higher' if task.higher_is_better else 'lower'
        row = (f'{scores[key]:.4g}' for scores in (before, after))
        table.add_row([key, *row, higher])
    print(f'\n{table}\n\n{time.time() - start:.0f} seconds')
    print(f'scores     {args.work_dir}/metrics.json')
    print(f'pictures   {pictures}/*.png (image, labels, predictions)')


if __name__ == '__main__':
    main()
