"""What runs beside the model: hooks."""

from .checkpoint_facts import checkpoint_meta, take_facts
from .checkpoint_fit_hook import CheckpointFitHook
from .checkpoints import (
    AtomicCheckpointHook,
    explain_full_disk,
)
from .compile_hook import CompileHook
from .early_stopping_hook import EarlyStoppingHook
from .feature_cache_hook import FeatureCacheHook
from .find_checkpoint import check_whole, latest_checkpoint, settle_resume
from .finite_predictions_hook import FinitePredictionsHook
from .labelled_loss_hook import LabelledLossHook
from .metrics_file_hook import MetricsFileHook
from .non_finite_loss_hook import NonFiniteLossHook
from .optimizers import BFloat16OptimWrapper
from .prototype_log_hook import PrototypeLogHook
from .run_config import load_config, share_tasks
from .run_lock import lock_run
from .runner import MultiTaskRunner
from .same_run_hook import SameRunHook
from .sample_hooks import (
    MultiTaskVisualizationHook,
    SavePredictionsHook,
    save_predictions,
)
from .schedule_hook import ScheduleHook
from .seed_hook import IterSeedHook
from .selection_hook import CheckpointSelectionHook
from .task_check_hook import TaskCheckHook

__all__ = [
    'AtomicCheckpointHook',
    'BFloat16OptimWrapper',
    'CheckpointFitHook',
    'CheckpointSelectionHook',
    'CompileHook',
    'EarlyStoppingHook',
    'FeatureCacheHook',
    'FinitePredictionsHook',
    'IterSeedHook',
    'LabelledLossHook',
    'MetricsFileHook',
    'MultiTaskRunner',
    'MultiTaskVisualizationHook',
    'NonFiniteLossHook',
    'PrototypeLogHook',
    'SameRunHook',
    'SavePredictionsHook',
    'ScheduleHook',
    'TaskCheckHook',
    'check_whole',
    'checkpoint_meta',
    'explain_full_disk',
    'latest_checkpoint',
    'load_config',
    'lock_run',
    'save_predictions',
    'settle_resume',
    'share_tasks',
    'take_facts',
]
