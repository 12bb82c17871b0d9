"""Keeps the features of a frozen backbone for the next run."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmprotomtl.datasets.unwrap import leaf_datasets
from mmprotomtl.models import FeatureCache, check_frozen
from mmprotomtl.registry import HOOKS
from mmprotomtl.utils.dist import unwrap


@HOOKS.register_module()
class FeatureCacheHook(Hook):
    """Lets training and tests read the features of a frozen backbone that an
    earlier step or run has computed, see :class:`FeatureCache`.

    Training gains if each image has few augmented views: set ``fixed_views``
    of its data set. Without that, each step has new images, and the folder
    grows until the disk is full. The network and its checkpoints are those
    without this hook, and the results, too, up to the rounding of ``dtype``.

    Args:
        folder: Where the features are kept; several runs may share it. None:
            nothing is kept.
        dtype: Type of the stored numbers, ``'float16'`` or ``'float32'``.

    Raises:
        ValueError: When a run starts: the backbone is not frozen
            (``model.freeze_backbone``).
    """

    # Before weights are copied, as for their moving average.
    priority = 'VERY_HIGH'

    def __init__(self, folder: str | None, dtype: str = 'float16') -> None:
        self.folder = folder
        self.dtype = dtype

    def before_run(self, runner: Runner) -> None:
        """Hand the cache to the model."""
        if self.folder is None:
            return
        model = unwrap(runner.model)
        if not hasattr(model, 'feature_cache'):
            raise ValueError(
                f'FeatureCacheHook: a {type(model).__name__} can not use it; '
                'MultiTaskSegmentor can'
            )
        # A part in the mode of training is no error before the start.
        model.train(model.training)
        check_frozen(model.backbone)
        settings = (runner.cfg.get('model') or {}).get('backbone') or {}
        model.feature_cache = FeatureCache(settings, self.folder, self.dtype)
        runner.logger.info(
            f'features of the backbone are kept in {self.folder} as '
            f'{self.dtype}'
        )

    def before_train(self, runner: Runner) -> None:
        """Warn if every step has new images."""
        parts = leaf_datasets(runner.train_dataloader.dataset, 'train_data')
        for place, part in parts:
            if self.folder and not getattr(part, 'fixed_views', None):
                runner.logger.warning(
                    f'FeatureCacheHook: {place} has no fixed_views. If its '
                    'transforms are random, no features are found again, and '
                    f'{self.folder} grows with each step'
                )
