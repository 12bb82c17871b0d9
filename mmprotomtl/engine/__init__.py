"""What runs beside the model: hooks and samplers."""

from .checkpoints import AtomicCheckpointHook, latest_checkpoint
from .non_finite_loss_hook import NonFiniteLossHook
from .output_hooks import (
    MetricsFileHook,
    MultiTaskVisualizationHook,
    SavePredictionsHook,
)
from .prototype_log_hook import PrototypeLogHook
from .samplers import SeededSampler
from .seed_hook import IterSeedHook
from .selection_hook import CheckpointSelectionHook
from .task_check_hook import TaskCheckHook

__all__ = [
    'AtomicCheckpointHook',
    'CheckpointSelectionHook',
    'IterSeedHook',
    'MetricsFileHook',
    'MultiTaskVisualizationHook',
    'NonFiniteLossHook',
    'PrototypeLogHook',
    'SavePredictionsHook',
    'SeededSampler',
    'TaskCheckHook',
    'latest_checkpoint',
]
