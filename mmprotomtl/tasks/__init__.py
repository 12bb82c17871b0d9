"""One room per task: all that its name means is in its file."""

from .base import PROTOCOLS, Task, apply_value_map, masked_mean
from .binary import BinaryTask
from .building import build_tasks, complete_args, plain, task_class
from .depth import DepthTask
from .edge import EdgeTask
from .human_parts import HumanPartsTask
from .normals import NormalsTask
from .sal import SaliencyTask
from .semseg import SemSegTask

__all__ = [
    'PROTOCOLS',
    'BinaryTask',
    'DepthTask',
    'EdgeTask',
    'HumanPartsTask',
    'NormalsTask',
    'SaliencyTask',
    'SemSegTask',
    'Task',
    'apply_value_map',
    'build_tasks',
    'complete_args',
    'masked_mean',
    'plain',
    'task_class',
]
