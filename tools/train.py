"""Train a model.

python tools/train.py CONFIG [--work-dir D] [--resume [auto|CKPT]] ...
"""

import argparse
import os
from pathlib import Path

from mmengine.config import DictAction
from mmengine.runner import Runner

from mmprotomtl.engine import (
    explain_full_disk,
    load_config,
    lock_run,
    settle_resume,
)
from mmprotomtl.loading.checkpoint_files import TRUST, trust
from mmprotomtl.registry import RUNNERS
from mmprotomtl.utils.launch import (
    launched_rank,
    prepare_cpu_launch,
    use_mixed_precision,
)


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--work-dir', help='where logs and checkpoints go (default: '
        'work_dirs/<name of the config>)'
    )  # fmt: skip
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='auto|CKPT',
        help='go on from a checkpoint; auto: of those of the work dir that '
        'are whole the furthest',
    )
    parser.add_argument(
        '--resume-anyway',
        action='store_true',
        help='go on even if settings differ from those of the run that wrote '
        'the checkpoint',
    )
    parser.add_argument(
        '--allow-partial',
        action='store_true',
        help='load weights (load_from) of which only a part fits the network, '
        'to train the rest from scratch',
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help=TRUST)
    parser.add_argument(
        '--amp',
        nargs='?',
        const='auto',
        choices=['auto', 'float16', 'bfloat16'],
        help='mixed precision; auto: float16 on a GPU, else bfloat16',
    )
    parser.add_argument('--seed', type=int, help='seed of the run')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings that replace those of the config, as '
        'model.neck.temperature=0.5',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='who started the processes',
    )
    # torchrun says it by the environment; the old launcher by this.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    """Train."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs', Path(args.config).stem))
    if args.allow_partial:
        cfg.allow_partial = True
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness', {}), seed=args.seed)
    if args.amp is not None:
        use_mixed_precision(cfg, args.amp)
    if args.resume == 'auto':
        cfg.resume = 'auto'
    elif args.resume:
        cfg.resume, cfg.load_from = True, args.resume
    if args.resume_anyway:
        if not cfg.get('resume') or 'same_run' not in cfg.default_hooks:
            raise SystemExit(
                '--resume-anyway: nothing is compared without --resume and '
                'default_hooks.same_run'
            )
        cfg.default_hooks.same_run.allow_differences = True
    if args.trust_checkpoint:
        if not cfg.get('load_from'):
            raise SystemExit(
                '--trust-checkpoint: name the checkpoint that is meant, by '
                '--resume CKPT or load_from'
            )
        trust(cfg.load_from)
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    first = launched_rank(args.launcher) == 0
    with (
        explain_full_disk(cfg.work_dir, hook),
        lock_run(cfg.work_dir, first),
    ):
        settle_resume(cfg)
        prepare_cpu_launch(args.launcher, cfg)
        # MultiTaskRunner, or FlexibleRunner for weights spread over GPUs.
        build = RUNNERS.build if cfg.get('runner_type') else Runner.from_cfg
        build(cfg).train()


if __name__ == '__main__':
    main()
