"""Load checkpoints, and the config in them, without running anything that is
stored there. See ``docs/security.md``.
"""

from .checkpoint_files import (
    install,
    load_checkpoint,
    trust,
    trust_if_told,
)
from .stored_config import read_stored_config
from .torch_files import read_torch
from .unpickling import SafeUnpickler, finish

__all__ = [
    'SafeUnpickler',
    'finish',
    'install',
    'load_checkpoint',
    'read_stored_config',
    'read_torch',
    'trust',
    'trust_if_told',
]
