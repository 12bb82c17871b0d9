"""Early stopping by a score whose direction the tasks say."""

from math import inf

from mmengine.hooks import EarlyStoppingHook as MMEngineEarlyStoppingHook
from mmengine.runner import BaseLoop, Runner

from mmprotomtl.registry import HOOKS

from .metric_choice import choose_by


@HOOKS.register_module()
class EarlyStoppingHook(MMEngineEarlyStoppingHook):
    """mmengine's ``EarlyStoppingHook``, which knows the tasks' scores.

    Args:
        monitor: The score, see :func:`~.metric_choice.choose_by`.
        rule: ``greater`` or ``less``; None: as the tasks say.
        **kwargs: See :class:`mmengine.hooks.EarlyStoppingHook`.
    """

    monitor: str
    min_delta: float

    def __init__(
        self, monitor: str = 'auto', rule: str | None = None, **kwargs
    ) -> None:
        # What mmengine would guess from the letters is replaced below.
        super().__init__(monitor, rule=rule or 'greater', **kwargs)
        self.given_rule = rule

    def before_run(self, runner: Runner) -> None:
        """Choose score and direction.

        Raises:
            ValueError: See :func:`~.metric_choice.choose_by`.
        """
        if not isinstance(runner._train_loop, BaseLoop):
            return
        super().before_run(runner)
        self.monitor, self.rule = choose_by(
            runner, 'EarlyStoppingHook.monitor', self.monitor, self.given_rule
        )
        greater = self.rule == 'greater'
        self.min_delta = abs(self.min_delta) * (1 if greater else -1)
        self.best_score = -inf if greater else inf
