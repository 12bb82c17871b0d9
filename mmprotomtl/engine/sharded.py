"""Training of models that are too large for one GPU."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine._strategy import FSDPStrategy
from mmengine.dist import (
    all_gather_object,
    is_distributed,
    is_main_process,
)
from mmengine.optim import BaseOptimWrapper
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp.wrap import lambda_auto_wrap_policy

from mmprotomtl.models.consistency import FeatureConsistency
from mmprotomtl.models.layers import VectorQuantizer
from mmprotomtl.registry import STRATEGIES

#: Classes of which a model has many, each large.
BLOCKS = ('TransformerEncoderLayer', 'RetrievalBlock', 'BasicBlock')


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """mmengine's ``FSDPStrategy``: weights, gradients and optimizer state are
    spread over the processes. For ``runner_type='FlexibleRunner'``.

    What it does besides:

    * A checkpoint is one file, as of any other run, and is written beside its
      place and then moved there. It is resumed on torch 2.1 and later.
    * The norm of the gradient is taken over all processes' shards; mmengine's
      wrapper would clip each process by the norm of its own.
    * It runs on CPUs too.

    Args:
        blocks: Names of the classes that are gathered one at a time. They
            have to be used by being called, as all ranks do in every step.
        model_wrapper: Arguments of ``MMFullyShardedDataParallel``
            (``sharding_strategy``, ``mixed_precision``, ...).
        **kwargs: See :class:`mmengine._strategy.FSDPStrategy`.

    Raises:
        RuntimeError: The run has a single process without a launcher.
        ValueError: The codebook rewrites its codes in the forward pass, which
            shards would lose, or there is a mean teacher.
    """

    model_wrapper: dict | None

    def __init__(
        self,
        *,
        blocks: Sequence[str] = BLOCKS,
        model_wrapper: dict | None = None,
        **kwargs,
    ) -> None:
        kwargs.setdefault('state_dict_cfg', 'full')
        super().__init__(model_wrapper=model_wrapper, **kwargs)
        self.blocks = tuple(blocks)

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        if not is_distributed():
            raise RuntimeError(
                'ShardedStrategy needs a launcher: start the run by '
                'tools/dist_train.sh or tools/slurm_train.sh'
            )
        check_codebook(model)
        check_teacher(model)
        wrapper = dict(self.model_wrapper or {})
        wrapper.setdefault('type', 'MMFullyShardedDataParallel')
        wrapper.setdefault(
            'auto_wrap_policy',
            partial(
                lambda_auto_wrap_policy,
                lambda_fn=lambda part: type(part).__name__ in self.blocks,
            ),
        )
        if not torch.cuda.is_available():
            wrapper['device_id'] = torch.device('cpu')
            os.environ.setdefault('LOCAL_RANK', '0')
        self.model_wrapper = wrapper
        return super()._wrap_model(model)

    def build_optim_wrapper(
        self, optim_wrapper: Any, model: nn.Module | None = None
    ) -> BaseOptimWrapper:
        """Build it, and let it clip by the norm of the whole gradient."""
        wrapper = super().build_optim_wrapper(optim_wrapper, model)
        whole: Any = model
        if getattr(wrapper, 'grad_name', None) == 'grad_norm':

            def clip(
                params: list, max_norm: float, norm_type: float = 2.0, **_: Any
            ) -> torch.Tensor:
                return whole.clip_grad_norm_(max_norm, norm_type)

            wrapper.clip_func = clip
        return wrapper

    def save_checkpoint(self, filename: str, **kwargs) -> None:
        """Write a checkpoint at once; all ranks take part."""
        if not self._is_full_state_dict():
            super().save_checkpoint(filename, **kwargs)
            return
        path = Path(filename)
        # As AtomicCheckpointHook knows it, if it is left behind.
        draft = path.with_name(f'.{path.name}.{os.getpid()}')
        try:
            super().save_checkpoint(str(draft), **kwargs)
            if is_main_process():
                os.replace(draft, path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise OSError(
                error.errno,
                f'{error.strerror}; what was there before is untouched',
                str(path),
            ) from error

    def optim_state_dict(self) -> dict:
        """The optimizer's state of all shards, and the loss scaler's."""
        state = self._gathered_state()
        own = self.optim_wrapper.state_dict()
        if 'loss_scaler' in own:
            state['loss_scaler'] = own['loss_scaler']
        return state

    def _gathered_state(self) -> dict:
        """The state of all shards, one quantity of the optimizer at a time.

        torch gathers the quantities of a weight, such as both moments of Adam,
        one after the other in the same memory. On a CPU it does not copy them
        from there, so that all of them would be the last one.
        """
        optimizer = self.optim_wrapper.optimizer
        own = optimizer.state_dict()
        names = {name for part in own['state'].values() for name in part}
        # A process may have no shard, but takes part in all gathering.
        names = set().union(*all_gather_object(names))
        whole: dict = FSDP.optim_state_dict(
            self.model, optimizer, dict(own, state={})
        )
        for name in sorted(names):
            state = {
                number: {name: part[name]}
                for number, part in own['state'].items()
                if name in part
            }
            found = FSDP.optim_state_dict(
                self.model, optimizer, dict(own, state=state)
            )
            # Only the first process gets what was gathered.
            for weight, part in found.get('state', {}).items():
                whole['state'].setdefault(weight, {}).update(part)
        return whole

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Take each process's shard of it."""
        scaler = state_dict.pop('loss_scaler', None)
        shard = FSDP.optim_state_dict_to_load(
            model=self.model,
            optim=self.optim_wrapper.optimizer,
            optim_state_dict=state_dict,
        )
        if scaler is not None:
            shard['loss_scaler'] = scaler
        self.optim_wrapper.load_state_dict(shard)


def check_codebook(model: nn.Module) -> None:
    """Refuse codes that are parameters and rewritten in the forward pass.

    What is written into a gathered parameter is gone when it is let go; a
    buffer, as under ``update='ema'``, is whole on every rank.
    """
    for name, part in model.named_modules():
        if (
            isinstance(part, VectorQuantizer)
            and part.update == 'gradient'
            and (part.kmeans_steps or part.replace_below)
        ):
            raise ValueError(
                f'model.{name}: kmeans_steps={part.kmeans_steps} and '
                f'replace_below={part.replace_below} are not allowed with '
                "update='gradient' where weights are sharded: set both to 0, "
                "or update='ema'"
            )


def check_teacher(model: nn.Module) -> None:
    """Refuse a mean teacher, whose average needs weights that are whole."""
    for name, part in model.named_modules():
        if isinstance(part, FeatureConsistency):
            raise ValueError(
                f'model.{name}.weight={part.weight} is not allowed where '
                'weights are sharded: its teacher needs the whole weights in '
                'every step; set it to 0'
            )
