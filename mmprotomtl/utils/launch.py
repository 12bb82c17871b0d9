"""Several processes on a machine without a GPU."""

import os

import torch
from torch import distributed as dist


def prepare_cpu_launch(launcher: str) -> None:
    """Start gloo where there is no GPU.

    mmengine's launchers select a CUDA device before they do anything else;
    they leave a process group alone that is already there.

    Args:
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
    """
    if launcher != 'pytorch' or torch.cuda.is_available():
        return
    if int(os.environ.get('WORLD_SIZE', 1)) >= 1 and not dist.is_initialized():
        dist.init_process_group('gloo')
