"""Test a checkpoint; the scores also go to ``metrics.json``.

python tools/test.py CONFIG CKPT [--out DIR] [--show-dir DIR] ...
"""

import argparse
import os
from pathlib import Path

from mmengine.config import DictAction
from mmengine.runner import Runner

from mmprotomtl.engine import (
    check_whole,
    checkpoint_meta,
    load_config,
    take_facts,
)
from mmprotomtl.loading.checkpoint_files import TRUST, trust
from mmprotomtl.models.segmentors.inference import TTA
from mmprotomtl.utils.files import make_output_folder
from mmprotomtl.utils.launch import prepare_cpu_launch

#: What draws, in a config that has no such hook.
DRAWING = dict(type='MultiTaskVisualizationHook')


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description='Test a checkpoint')
    parser.add_argument('config', help='the config file')
    parser.add_argument('checkpoint', help='the checkpoint')
    parser.add_argument(
        '--work-dir', help='where the log and metrics.json go (default: '
        'work_dirs/<name of the config>)'
    )  # fmt: skip
    parser.add_argument('--out', help='folder to save the predictions in')
    parser.add_argument('--show-dir', help='folder to save pictures in')
    parser.add_argument(
        '--tta',
        action='store_true',
        help='average over zoomed and mirrored views of each image (those of '
        'model.test_cfg.tta, or else six zooms, each also mirrored)',
    )
    parser.add_argument(
        '--allow-partial',
        action='store_true',
        help='load a checkpoint of which only a part fits the network; the '
        'rest stays random',
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help=TRUST)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings that replace those of the config',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='who started the processes',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    """Test."""
    args = parse_args()
    if not Path(args.checkpoint).exists() and '://' not in args.checkpoint:
        raise SystemExit(f'{args.checkpoint}: no such checkpoint')
    check_whole(args.checkpoint)
    if args.trust_checkpoint:
        trust(args.checkpoint)
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs', Path(args.config).stem))
    for setting, folder in (
        ('--work-dir', cfg.work_dir),
        ('--out', args.out),
        ('--show-dir', args.show_dir),
    ):
        if folder is not None:
            make_output_folder(folder, setting)
    cfg.load_from = args.checkpoint
    # A test has nothing to resume, whatever the config says for training.
    cfg.resume = False
    # Nor does it load a part, because a config allows that for fine-tuning.
    cfg.allow_partial = args.allow_partial or (args.cfg_options or {}).get(
        'allow_partial', False
    )
    take_facts(cfg, checkpoint_meta(args.checkpoint))
    if args.tta:
        test_cfg = cfg.model.get('test_cfg') or {}
        cfg.model.test_cfg = {**test_cfg, 'tta': test_cfg.get('tta') or TTA}
    if args.show_dir is not None:
        hooks = cfg.get('default_hooks') or {}
        drawing = hooks.get('visualization') or DRAWING
        cfg.default_hooks = {
            **hooks,
            'visualization': {**drawing, 'out_dir': args.show_dir},
        }
        if cfg.get('visualizer') is None:
            cfg.visualizer = dict(type='MultiTaskLocalVisualizer')
    if args.out is not None:
        saving = dict(type='SavePredictionsHook', out_dir=args.out)
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), saving]
    prepare_cpu_launch(args.launcher, cfg)
    Runner.from_cfg(cfg).test()


if __name__ == '__main__':
    main()
