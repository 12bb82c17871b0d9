"""What a test leaves on disk: scores, predictions, pictures."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import Tensor

from mmprotomtl.evaluation import MultiTaskMetric
from mmprotomtl.evaluation.delta import Reference
from mmprotomtl.registry import HOOKS
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.utils.dist import unwrap
from mmprotomtl.utils.files import write_json
from mmprotomtl.version import __version__


@HOOKS.register_module()
class MetricsFileHook(Hook):
    """Writes ``metrics.json`` after a test: the scores, and of what they are.

    Args:
        out_file: Where; None: ``metrics.json`` in the work dir.
    """

    def __init__(self, out_file: str | None = None) -> None:
        self.out_file = out_file
        self._meta: dict = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep what the checkpoint says of its training."""
        self._meta = checkpoint.get('meta', {})

    def before_val(self, runner: Runner) -> None:
        """Check that the run may be compared with its reference."""
        if not _references(runner.val_evaluator):
            return
        seed = self._meta.get('seed')
        trained_on = self._meta.get('dataset_meta')
        if isinstance(runner._train_loop, BaseLoop):
            seed = runner.seed
            trained_on = runner.train_dataloader.dataset.metainfo
        dataset = runner.val_dataloader.dataset
        report = self._facts(
            dataset, runner.val_evaluator, seed, trained_on or {}
        )
        _check_reference(runner.val_evaluator, report)

    def before_test(self, runner: Runner) -> None:
        """Check that the model may be compared with its reference."""
        _check_reference(runner.test_evaluator, self._tested(runner))

    def _tested(self, runner: Runner) -> dict:
        return self._facts(
            runner.test_dataloader.dataset,
            runner.test_evaluator,
            self._meta.get('seed'),
            self._meta.get('dataset_meta') or {},
        )

    @staticmethod
    def _facts(
        dataset: Any, evaluator: Evaluator, seed: int | None, trained_on: dict
    ) -> dict:
        """What a result depends on besides the method."""
        metric = next(
            (m for m in evaluator.metrics if isinstance(m, MultiTaskMetric)),
            None,
        )
        return dict(
            seed=seed,
            protocol=None if metric is None else metric.protocol,
            scoring=None if metric is None else metric.scoring(),
            label_mask=trained_on.get('label_mask'),
            test_data=dict(
                type=type(dataset).__name__,
                root=getattr(dataset, 'data_root', None),
                split=getattr(dataset, 'split', None),
                holdout=getattr(dataset, 'holdout', None),
                images=len(dataset),
                ids=_hash_of_ids(dataset),
            ),
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
        references = _references(runner.test_evaluator)
        out_file = self.out_file or Path(runner.work_dir, 'metrics.json')
        write_json(
            out_file,
            dict(
                metrics=metrics,
                tasks=standing,
                reference=[f for r in references for f in r.files] or None,
                config=runner.cfg.filename,
                checkpoint=runner.cfg.get('load_from'),
                epoch=self._meta.get('epoch'),
                iter=self._meta.get('iter'),
                inference=getattr(unwrap(runner.model), 'test_cfg', None),
                selection=selection,
                selected_on=selection.get('on'),
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


def _hash_of_ids(dataset: Any) -> str | None:
    """SHA-256 over the names of a data set's images; None: they have none."""
    if not hasattr(dataset, 'get_data_info'):
        return None
    infos = map(dataset.get_data_info, range(len(dataset)))
    names = [info.get('sample_id') for info in infos]
    if None in names:
        return None
    return hashlib.sha256('\n'.join(sorted(names)).encode()).hexdigest()


def _references(evaluator: Evaluator) -> list[Reference]:
    """The references of the metrics that have one."""
    found = [getattr(m, 'reference', None) for m in evaluator.metrics]
    return [reference for reference in found if reference is not None]


def _check_reference(evaluator: Evaluator, report: dict) -> None:
    for reference in _references(evaluator):
        reference.check(report)


class _SampleHook(Hook):
    """Does something with each predicted sample of a test."""

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[MultiTaskDataSample] | None = None,
    ) -> None:
        """Go through the batch."""
        assert data_batch is not None and outputs is not None
        for image, sample in zip(data_batch['inputs'], outputs, strict=True):
            self.handle(runner, image, sample)

    def handle(
        self, runner: Runner, image: Tensor, sample: MultiTaskDataSample
    ) -> None:
        """Handle one image (BGR tensor ``3 x H x W``) and its sample."""
        raise NotImplementedError


@HOOKS.register_module()
class SavePredictionsHook(_SampleHook):
    """Saves predictions: ``out_dir/<task>/<sample id>.<ending>``, each in the
    format that its task chooses.

    Args:
        out_dir: The folder.
    """

    def __init__(self, out_dir: str) -> None:
        self.out_dir = out_dir

    def handle(
        self, runner: Runner, image: Tensor, sample: MultiTaskDataSample
    ) -> None:
        """Save the maps of one sample."""
        tasks = unwrap(runner.model).tasks
        for name, pred in sample.pred_maps.items():
            stem = Path(self.out_dir, name, sample.metainfo['sample_id'])
            stem.parent.mkdir(parents=True, exist_ok=True)
            tasks[name].save(pred.cpu().numpy(), str(stem))


@HOOKS.register_module()
class MultiTaskVisualizationHook(_SampleHook):
    """Draws predictions beside labels: ``out_dir/<sample id>.png``.

    Args:
        out_dir: The folder; None: nothing is drawn.
        limit: Draw no more than this many images.
    """

    def __init__(
        self, out_dir: str | None = None, limit: int | None = None
    ) -> None:
        self.out_dir = out_dir
        self.limit = limit
        self._drawn = 0

    def handle(
        self, runner: Runner, image: Tensor, sample: MultiTaskDataSample
    ) -> None:
        """Draw one sample."""
        if self.out_dir is None or self._drawn == self.limit:
            return
        self._drawn += 1
        name = sample.metainfo['sample_id']
        runner.visualizer.add_datasample(
            name,
            image.cpu().numpy().transpose(1, 2, 0)[..., ::-1],
            sample,
            out_file=str(Path(self.out_dir, f'{name}.png')),
        )
