"""Registries of mmprotomtl.

Each one that mmseg also has is a child of mmseg's, so that unprefixed mmseg
types (``CrossEntropyLoss``, ``PhotoMetricDistortion``) resolve in our configs;
mmpretrain's take their prefix (``mmpretrain.ResNet``).
"""

import mmengine.registry
import mmseg.registry
from mmengine.registry import Registry


def _child(parent: Registry, folder: str) -> Registry:
    """A registry below ``parent`` that finds mmseg's modules and ours.

    mmengine looks into a parent without importing the parent's modules, so
    mmseg's location has to be ours too.
    """
    return Registry(
        parent.name,
        parent=parent,
        scope='mmprotomtl',
        locations=[f'mmprotomtl.{folder}', f'mmseg.{folder}'],
    )


MODELS = _child(mmseg.registry.MODELS, 'models')
DATASETS = _child(mmseg.registry.DATASETS, 'datasets')
DATA_SAMPLERS = _child(mmseg.registry.DATA_SAMPLERS, 'datasets')
TRANSFORMS = _child(mmseg.registry.TRANSFORMS, 'datasets.transforms')
METRICS = _child(mmseg.registry.METRICS, 'evaluation')
HOOKS = _child(mmseg.registry.HOOKS, 'engine')
VISUALIZERS = _child(mmseg.registry.VISUALIZERS, 'visualization')
INFERENCERS = _child(mmseg.registry.INFERENCERS, 'apis')
RUNNERS = _child(mmseg.registry.RUNNERS, 'engine')
OPTIM_WRAPPERS = _child(mmseg.registry.OPTIM_WRAPPERS, 'engine.optimizers')
# mmseg has none of these.
STRATEGIES = Registry(
    'strategy',
    parent=mmengine.registry.STRATEGIES,
    scope='mmprotomtl',
    locations=['mmprotomtl.engine.sharded'],
)

# We add nothing to these, but mmengine warns where a scope has none.
for _parent, _folders in (
    (mmengine.registry.FUNCTIONS, ()),
    (mmseg.registry.RUNNER_CONSTRUCTORS, ()),
    (mmseg.registry.LOOPS, ()),
    (mmseg.registry.MODEL_WRAPPERS, ()),
    (mmseg.registry.WEIGHT_INITIALIZERS, ()),
    (mmseg.registry.OPTIMIZERS, ('engine.optimizers',)),
    (mmseg.registry.OPTIM_WRAPPER_CONSTRUCTORS, ('engine.optimizers',)),
    (mmseg.registry.PARAM_SCHEDULERS, ('engine.schedulers',)),
    (mmseg.registry.EVALUATOR, ()),
    (mmseg.registry.TASK_UTILS, ()),
    (mmseg.registry.VISBACKENDS, ()),
    (mmseg.registry.LOG_PROCESSORS, ()),
):
    Registry(
        _parent.name,
        parent=_parent,
        scope='mmprotomtl',
        locations=[f'mmseg.{folder}' for folder in _folders],
    )

#: What a task is: see :class:`mmprotomtl.tasks.Task`.
TASKS = Registry('task', scope='mmprotomtl', locations=['mmprotomtl.tasks'])
#: How a task is scored: see :class:`mmprotomtl.evaluation.measures.Measure`.
TASK_MEASURES = Registry(
    'measure', scope='mmprotomtl', locations=['mmprotomtl.evaluation']
)
#: Its old name, for measures of users' own.
MEASURES = TASK_MEASURES
