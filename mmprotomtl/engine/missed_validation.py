"""The validation that a run did not come to before it was interrupted."""

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner


class MissedValidation(Hook):
    """Validates before the first step of a resumed run, where that is due.

    A checkpoint is written before the validation at the same place, and
    mmengine goes on with the step that follows. A resumed run would have no
    score of that place, could not choose it as its best, and a schedule that
    goes by a score would miss a step. :class:`~.same_run_hook.SameRunHook`
    registers this hook with every run that is resumed.

    Args:
        done_at: The iteration after which the run that wrote the checkpoint
            had last validated; None: not known, or never.
    """

    # The run's other hooks are prepared for training first.
    priority = 'LOWEST'

    def __init__(self, done_at: int | None) -> None:
        self.done_at = done_at

    def before_train(self, runner: Runner) -> None:
        """Validate, if the train loop would have done so at this place."""
        loop, here = runner.train_loop, runner.iter
        if runner.val_loop is None or not here or here == self.done_at:
            return
        number, end = here, runner.max_iters
        if isinstance(loop, EpochBasedTrainLoop):
            number, end = runner.epoch, runner.max_epochs
            if here != number * len(loop.dataloader):
                return  # Within an epoch, which will be validated at its end.
        loop._decide_current_val_interval()
        at = number % loop.val_interval == 0 or number == end
        if at and number >= loop.val_begin:
            runner.logger.info(
                f'the checkpoint was written before the validation after '
                f'iteration {here}, which is done first'
            )
            runner.val_loop.run()
