"""What a room of the package offers can be imported from the room itself."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseDataPreprocessor, BaseModel, BaseModule
from mmengine.optim import OptimWrapper
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch.utils.data import Sampler

import mmprotomtl
from mmprotomtl import registry
from mmprotomtl.evaluation import Measure
from mmprotomtl.tasks import Task

ROOT = Path(mmprotomtl.__file__).parents[1]
#: Not rooms of their own, or their modules are what is imported.
NO_FACE = ('__main__', 'registry', 'testing', 'utils', 'version')
ROOMS = sorted(
    module.name
    for module in pkgutil.iter_modules(mmprotomtl.__path__)
    if module.name not in NO_FACE
)
#: torch.distributed's FSDP is imported by the runs that use it.
ON_DEMAND = ('ShardedStrategy',)


def room(name):
    """A room, imported."""
    return importlib.import_module(f'mmprotomtl.{name}')


def registered():
    """The classes and functions of ours that a config can name."""
    for module in pkgutil.walk_packages(mmprotomtl.__path__, 'mmprotomtl.'):
        importlib.import_module(module.name)
    found = {
        item
        for value in vars(registry).values()
        if isinstance(value, Registry)
        for item in value.module_dict.values()
        if item.__module__.startswith('mmprotomtl.')
    }
    return sorted(found, key=lambda item: item.__name__)


def used_from_outside():
    """Room -> the functions and classes that other rooms and tools import
    from one of its modules.
    """
    found = {name: set() for name in ROOMS}
    files = [*(ROOT / 'mmprotomtl').rglob('*.py'), *ROOT.glob('tools/**/*.py')]
    for file in files:
        own = file.relative_to(ROOT).parts[1]
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.level:
                continue
            parts = (node.module or '').split('.')
            if parts[0] != 'mmprotomtl' or len(parts) < 2:
                continue
            if parts[1] == own or parts[1] in NO_FACE:
                continue
            module = importlib.import_module(node.module)
            for alias in node.names:
                value = getattr(module, alias.name, None)
                if inspect.isclass(value) or inspect.isfunction(value):
                    found[parts[1]].add(alias.name)
    return found


def test_registered_classes_are_in_their_rooms_faces():
    items = registered()
    names = {item.__name__ for item in items}
    # One of each registry, so that an empty walk does not pass.
    assert {
        'AKGLoss', 'AtomicCheckpointHook', 'DepthTask', 'MultiTaskInferencer',
        'MultiTaskMetric', 'MultiTaskResize', 'NYUv2Dataset', 'SeededSampler',
        'RegressionError', 'MultiTaskLocalVisualizer', 'MultiTaskRunner',
    } <= names  # fmt: skip
    hidden = [
        f'{item.__module__}.{item.__name__}'
        for item in items
        if item.__name__ not in ON_DEMAND
        and not (
            getattr(room(item.__module__.split('.')[1]), item.__name__, None)
            is item
            and item.__name__ in room(item.__module__.split('.')[1]).__all__
        )
    ]
    assert not hidden


def test_what_a_config_can_name_is_registered():
    """All public classes of these kinds but those to inherit from."""
    kinds = (
        BaseDataset, ConcatDataset, BaseTransform, BaseMetric, Hook, Task,
        Measure, Visualizer, Runner, Sampler, BaseModel, BaseModule,
        BaseDataPreprocessor, OptimWrapper,
    )  # fmt: skip
    parents = {
        'BinaryTask', 'MTANDataset', 'Measure', 'MultiTaskDataset',
        'RetrievalBlock', 'Task',
    }  # fmt: skip
    found = {
        value
        for name in ROOMS
        for value in vars(room(name)).values()
        if inspect.isclass(value) and issubclass(value, kinds)
    }
    assert len(found) > 40
    missing = {cls.__name__ for cls in found - set(registered())}
    assert missing <= parents


@pytest.mark.parametrize('name', ROOMS)
def test_a_face_names_only_what_is_there(name):
    face = room(name)
    assert len(set(face.__all__)) == len(face.__all__)
    assert not [n for n in face.__all__ if not hasattr(face, n)]


@pytest.mark.parametrize('name', ROOMS)
def test_what_other_rooms_use_is_in_the_face(name):
    assert used_from_outside()[name] <= set(room(name).__all__)
