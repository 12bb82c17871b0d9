"""Refuses a checkpoint that is not one of the run's network."""

from mmengine.hooks import EMAHook, Hook
from mmengine.runner import BaseLoop, Runner

from mmprotomtl.models.checkpoint_fit import (
    check_meaning,
    check_weights,
    weights_of,
)
from mmprotomtl.registry import HOOKS
from mmprotomtl.utils.dist import unwrap
from mmprotomtl.utils.errors import check_choice

#: What to do where weights do not fit.
_INSIST = (
    '\nGive the config and the settings that the checkpoint was trained with. '
    'To load what fits all the same: --allow-partial, or allow_partial=True '
    'in the config.'
)
_RESUME = (
    '\nA run is resumed with the config that it had, which is in its work_dir.'
)


@HOOKS.register_module()
class CheckpointFitHook(Hook):
    """Checks every checkpoint that a run loads, before it is used.

    mmengine loads what fits and leaves the rest at random. With this hook,
    which :func:`mmprotomtl.engine.load_config` adds to every config, a run
    stops where

    * weights are missing, not of this network, or of another shape. The
      config's ``allow_partial=True`` (``--allow-partial`` of our tools) loads
      what fits and warns of the rest, for a test and for fine-tuning from
      ``load_from``. To resume, all has to fit: the optimizer's state belongs
      to just these weights;
    * a test or a resumed run means something else by a task than the data
      that the checkpoint was trained on: other classes, another unit;
    * a run is resumed that kept a moving average of its weights
      (``EMAHook``), and now it would not: the trained weights themselves
      would be lost.

    Weights of a process of several (``module.`` before each name), and files
    that hold the weights alone, are brought into the usual form first.
    """

    # Before others take weights from the checkpoint, as EMAHook does.
    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check it.

        Raises:
            ValueError: See the class.
        """
        allow = runner.cfg.get('allow_partial', False)
        check_choice('allow_partial', allow, (True, False))
        resumed = bool(runner._resume)
        allow = allow and not resumed
        source = str(runner._load_from or runner.work_dir)
        weights = weights_of(checkpoint)
        if resumed:
            self._check_average(runner, checkpoint, source)
        # What the other hooks and mmengine read.
        checkpoint['state_dict'] = weights
        check_weights(
            runner.model,
            weights,
            source,
            _RESUME if resumed else _INSIST,
            allow,
        )
        # Fine-tuning may teach the network other classes.
        if resumed or not isinstance(runner._train_loop, BaseLoop):
            check_meaning(
                getattr(unwrap(runner.model), 'tasks', {}),
                checkpoint.get('meta') or {},
                source,
                allow,
            )

    @staticmethod
    def _check_average(runner: Runner, checkpoint: dict, source: str) -> None:
        """Check the trained weights beside which an average was kept.

        mmengine stores the average as ``state_dict``, which is what a test
        and the inferencer use, and the trained weights as
        ``ema_state_dict``.
        """
        stored = checkpoint.get('ema_state_dict')
        if stored is None:
            return
        if not any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise ValueError(
                f'{source}: its run kept a moving average of the weights '
                '(EMAHook), and this run does not: it would go on from the '
                'average. Resume it with the config that it had, or start a '
                'new run from the average by load_from without resume'
            )
        trained = weights_of(dict(state_dict=stored))
        # The counter of the average.
        trained.pop('steps', None)
        check_weights(runner.model, trained, f'{source} (ema_state_dict)')
