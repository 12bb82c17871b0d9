"""One room per task: all that its name means is in its file."""

from .base import (
    PROTOCOLS,
    Task,
    apply_value_map,
    masked_mean,
    resize_known,
    save_gray,
)
from .binary import BinaryTask
from .building import (
    build_tasks,
    check_form,
    complete_args,
    needs_rays,
    plain,
    task_class,
)
from .depth import DepthTask
from .edge import EdgeTask
from .human_parts import HumanPartsTask
from .normals import NormalsTask, unit_vectors
from .output import OutputInfo
from .sal import SaliencyTask
from .semseg import SemSegTask

__all__ = [
    'PROTOCOLS',
    'BinaryTask',
    'DepthTask',
    'EdgeTask',
    'HumanPartsTask',
    'NormalsTask',
    'OutputInfo',
    'SaliencyTask',
    'SemSegTask',
    'Task',
    'apply_value_map',
    'build_tasks',
    'check_form',
    'complete_args',
    'masked_mean',
    'needs_rays',
    'plain',
    'resize_known',
    'save_gray',
    'task_class',
    'unit_vectors',
]
