"""Mixed precision and distributed launch, with or without a GPU."""

import os
import subprocess

import torch
from mmengine.config import Config
from torch import distributed as dist

from mmprotomtl.utils.errors import check_choice

#: Environment variable of torch.distributed -> that of Slurm.
_SLURM = dict(
    RANK='SLURM_PROCID', WORLD_SIZE='SLURM_NTASKS', LOCAL_RANK='SLURM_LOCALID'
)


def launched_rank(launcher: str) -> int:
    """The number of this process among those that a launcher started, before
    they know of each other.

    Args:
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
    """
    names = dict(
        pytorch='RANK', slurm=_SLURM['RANK'], mpi='OMPI_COMM_WORLD_RANK'
    )
    return int(os.environ.get(names.get(launcher, ''), 0))


def use_mixed_precision(cfg: Config, dtype: str) -> None:
    """Switch a run's config to mixed precision.

    Args:
        cfg: The config of the run, changed in place.
        dtype: ``bfloat16``, ``float16`` or ``auto``, which is ``float16`` (as
            in mmseg) on a GPU and ``bfloat16`` on a CPU.

    Raises:
        ValueError: ``float16`` is requested without a GPU, or the optimizer
            wrapper is not one of mmengine.
    """
    gpu = torch.cuda.is_available()
    if dtype == 'auto':
        dtype = 'float16' if gpu else 'bfloat16'
    if dtype == 'float16' and not gpu:
        raise ValueError(
            '--amp float16 needs a GPU, because mmengine scales losses on '
            'GPUs only: use --amp bfloat16'
        )
    wrapper = cfg.optim_wrapper
    check_choice(
        'optim_wrapper.type with --amp',
        wrapper.get('type', 'OptimWrapper'),
        ('OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper'),
    )
    if dtype == 'float16':
        wrapper.update(type='AmpOptimWrapper', dtype=dtype)
        wrapper.setdefault('loss_scale', 'dynamic')
    else:
        # Settings that only the wrapper for float16 has.
        for key in ('loss_scale', 'dtype'):
            wrapper.pop(key, None)
        wrapper.type = 'BFloat16OptimWrapper'


def prepare_cpu_launch(launcher: str, cfg: Config) -> None:
    """Start a gloo process group on machines without a GPU.

    mmengine's launchers first select a CUDA device, which fails without a GPU;
    they skip this if there is a process group already. mmengine's default DDP
    wrapper also needs a CUDA device, so it is configured without one here.

    Args:
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        cfg: The run's config; its ``model_wrapper_cfg`` is set.

    Raises:
        RuntimeError: The process was not started by the launcher.
        ValueError: The config has ``sync_bn``, which needs GPUs.
    """
    if launcher not in ('pytorch', 'slurm') or torch.cuda.is_available():
        return
    if cfg.get('sync_bn') is not None:
        raise ValueError(
            f'sync_bn={cfg.sync_bn!r} needs GPUs: SyncBatchNorm does not run '
            'on CPUs. Leave it out, or use a norm_cfg without batch '
            "statistics, dict(type='GN', num_groups=32)"
        )
    cfg.setdefault(
        'model_wrapper_cfg',
        dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        ),
    )
    if dist.is_initialized():
        return
    needed = _SLURM.values() if launcher == 'slurm' else _SLURM
    missing = [name for name in needed if name not in os.environ]
    if missing:
        started = 'srun' if launcher == 'slurm' else 'torchrun'
        raise RuntimeError(
            f'--launcher {launcher}, but {", ".join(missing)} is not in the '
            f'environment: start the command with {started}, or by the '
            'scripts tools/dist_*.sh and tools/slurm_*.sh'
        )
    if launcher == 'slurm':
        for name, slurm in _SLURM.items():
            os.environ[name] = os.environ[slurm]
        os.environ.setdefault('MASTER_PORT', '29500')
        if 'MASTER_ADDR' not in os.environ:
            os.environ['MASTER_ADDR'] = _first_node()
    dist.init_process_group('gloo')


def _first_node() -> str:
    """Return the host name of rank 0."""
    nodes = os.environ['SLURM_NODELIST']
    if not any(sign in nodes for sign in '[,'):
        return nodes
    # A list such as node[3-5] is expanded by Slurm.
    command = ['scontrol', 'show', 'hostnames', nodes]
    return subprocess.check_output(command, text=True).split()[0]
