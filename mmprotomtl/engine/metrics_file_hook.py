"""The file that a test writes: its scores, and of what they are."""

from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from mmprotomtl.datasets.labels_used import label_facts
from mmprotomtl.registry import HOOKS
from mmprotomtl.utils.dist import unwrap
from mmprotomtl.utils.files import write_json
from mmprotomtl.version import __version__

from .reference_check import check_references, facts_of_result, references


@HOOKS.register_module()
class MetricsFileHook(Hook):
    """Writes ``metrics.json`` after a test: the scores, and of what they are.

    Args:
        out_file: Where; None: ``metrics.json`` in the work dir.
    """

    # After TaskCheckHook, which hands the tasks to what is asked here. The
    # order of default_hooks does not tell: a dumped config has them sorted.
    priority = 'BELOW_NORMAL'

    def __init__(self, out_file: str | None = None) -> None:
        self.out_file = out_file
        self._meta: dict = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep what the checkpoint says of its training."""
        self._meta = checkpoint.get('meta', {})

    def before_val(self, runner: Runner) -> None:
        """Check that the run may be compared with its reference."""
        if not references(runner.val_evaluator):
            return
        seed = self._meta.get('seed')
        trained_on = self._meta.get('dataset_meta')
        if isinstance(runner._train_loop, BaseLoop):
            seed = runner.seed
            trained_on = label_facts(runner.train_dataloader.dataset)
        dataset = runner.val_dataloader.dataset
        report = facts_of_result(
            dataset, runner.val_evaluator, seed, trained_on or {}
        )
        check_references(runner.val_evaluator, report)

    def before_test(self, runner: Runner) -> None:
        """Check that the model may be compared with its reference."""
        check_references(runner.test_evaluator, self._tested(runner))

    def _tested(self, runner: Runner) -> dict:
        return facts_of_result(
            runner.test_dataloader.dataset,
            runner.test_evaluator,
            self._meta.get('seed'),
            self._meta.get('dataset_meta') or {},
        )

    @master_only
    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Write."""
        # Which metric stands for a task, and whether higher is better.
        standing = {
            name: dict(
                metric=task.standing_metric, higher=task.higher_is_better
            )
            for name, task in unwrap(runner.model).tasks.items()
        }
        selection = self._selection(runner)
        found = references(runner.test_evaluator)
        out_file = self.out_file or Path(runner.work_dir, 'metrics.json')
        write_json(
            out_file,
            dict(
                metrics=metrics,
                tasks=standing,
                reference=[f for r in found for f in r.files] or None,
                config=runner.cfg.filename,
                checkpoint=runner.cfg.get('load_from'),
                allow_partial=bool(runner.cfg.get('allow_partial')),
                epoch=self._meta.get('epoch'),
                iter=self._meta.get('iter'),
                inference=getattr(unwrap(runner.model), 'test_cfg', None),
                selection=selection,
                selected_on=selection.get('on'),
                # None: nobody knows; empty: one run with one setting.
                resumed_with_differences=(self._meta.get('run') or {}).get(
                    'resumed_with_differences'
                ),
                **self._tested(runner),
                mmprotomtl=__version__,
            ),
        )
        runner.logger.info(f'metrics written to {out_file}')
        if selection.get('on') == 'test':
            runner.logger.warning(
                'selected_on: test. This checkpoint was chosen on test data '
                f'by {selection["metric"]!r}; its scores are not those of '
                'unseen data'
            )

    def _selection(self, runner: Runner) -> dict:
        """Which of its run's checkpoints it is, and on what it was chosen."""
        name = Path(str(runner.cfg.get('load_from'))).name
        chosen = self._meta.get('selection')
        if name.startswith('best_'):
            chosen = chosen or dict(metric=None, on='unknown')
            return dict(chosen, checkpoint='best')
        train_cfg = runner.cfg.get('train_cfg') or {}
        for unit in ('epoch', 'iter'):
            last, at = train_cfg.get(f'max_{unit}s'), self._meta.get(unit)
            if last is not None and at is not None:
                return dict(
                    checkpoint='last' if at == last else f'{unit} {at}'
                )
        return {}
