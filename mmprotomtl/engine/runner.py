"""The runner of our configs."""

import copy
from typing import Any

from mmengine.dist import is_main_process
from mmengine.runner import Runner
from torch import nn

from mmprotomtl.registry import RUNNERS

from .find_checkpoint import settle_resume
from .run_config import share_tasks
from .run_lock import lock_run


@RUNNERS.register_module()
class MultiTaskRunner(Runner):
    """mmengine's ``Runner`` for configs that say ``tasks`` once.

    Tools that read a config themselves, such as mmseg's, build the runner that
    ``runner_type`` names; this one hands the tasks to model and data sets
    (:func:`load_config`) before it builds them, and goes on from the
    checkpoint that :func:`settle_resume` chooses.
    """

    @classmethod
    def from_cfg(cls, cfg: Any) -> Runner:
        """Build a runner from a config."""
        cfg = copy.deepcopy(cfg)
        share_tasks(cfg)
        if cfg.get('resume') == 'auto' or (
            cfg.get('resume') and not cfg.get('load_from')
        ):
            settle_resume(cfg)
        return super().from_cfg(cfg)

    def train(self) -> nn.Module:
        """Train, with the work dir to itself (:func:`lock_run`)."""
        with lock_run(self.work_dir, is_main_process()):
            return super().train()
