"""Random numbers of the model that a resumed run draws again."""

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmprotomtl.registry import HOOKS


@HOOKS.register_module()
class IterSeedHook(Hook):
    """Seeds torch before each training step from the run's seed, the rank and
    the number of the step.

    Whatever the model draws (dropout, stochastic depth) is the same after a
    resume as in the uninterrupted run; no state has to be saved.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Seed."""
        mixed = np.random.SeedSequence((runner.seed, runner.rank, runner.iter))
        torch.manual_seed(int(mixed.generate_state(1)[0]))
