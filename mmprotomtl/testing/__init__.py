"""Small models, batches and run configs for tests and benchmarks."""

from collections.abc import Sequence

from mmprotomtl.datasets import SyntheticScenesDataset
from mmprotomtl.models import MultiTaskSegmentor
from mmprotomtl.registry import MODELS

#: All tasks of the synthetic scenes.
TASKS = dict(
    semseg=dict(num_classes=7),
    human_parts=dict(),
    sal=dict(),
    normals=dict(),
    edge=dict(num_thresholds=19),
    depth=dict(),
)


def tiny_cfg(
    tasks: dict | None = None,
    neck: dict | None = None,
    head: dict | None = None,
    **kwargs,
) -> dict:
    """Return a model config of the method, small enough for tests.

    Args:
        tasks: The ``tasks`` of a config; None: all six.
        neck: Settings that override those of the neck; with ``type``, they
            replace them.
        head: Settings that override those of the head; with ``type``, they
            replace them.
        **kwargs: Settings of the segmentor.
    """
    tiny_neck = dict(
        type='PrototypeNeck',
        channels=16,
        num_blocks=1,
        quantizer=dict(type='VectorQuantizer', num_codes=24, code_dim=16),
        prototype_dim=12,
        reconstruction_channels=8,
    )
    tiny_head = dict(
        type='RetrievalTransformerHead', num_blocks=2, num_heads=2
    )
    cfg = dict(
        type='MultiTaskSegmentor',
        tasks=tasks or TASKS,
        backbone=dict(
            type='mmpretrain.ResNet',
            depth=18,
            stem_channels=8,
            base_channels=8,
            out_indices=(0, 1, 2, 3),
        ),
        neck=_over(tiny_neck, neck),
        head=_over(tiny_head, head),
        data_preprocessor=dict(
            type='MultiTaskDataPreprocessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
            pad_size_divisor=32,
        ),
    )
    return {**cfg, **kwargs}


def tiny_model(tasks: dict | None = None, **kwargs) -> MultiTaskSegmentor:
    """Build the model of :func:`tiny_cfg` and initialise its weights."""
    model = MODELS.build(tiny_cfg(tasks, **kwargs))
    model.init_weights()
    return model


def _over(cfg: dict, given: dict | None) -> dict:
    """Merge ``given`` over ``cfg``, or return it alone if it has a type."""
    given = given or {}
    return dict(given) if 'type' in given else {**cfg, **given}


#: Arguments of :func:`tiny_cfg` for the plain multi-task baseline.
PLAIN = dict(
    neck=dict(type='MultiTaskNeck', channels=16, num_blocks=1),
    head=dict(type='MultiTaskHead'),
)


def scene_batch(
    labelled: Sequence[Sequence[str]],
    size: tuple[int, int] = (32, 64),
    tasks: dict | None = None,
    seed: int = 0,
) -> dict:
    """Return a batch of rendered scenes in the format of the data loader.

    Args:
        labelled: For each image, the names of its labelled tasks.
        size: Height and width in pixels.
        tasks: The ``tasks`` of a config; None: all six.
        seed: Seed of the scenes.

    Returns:
        ``inputs``, a list of uint8 tensors ``3 x H x W``, and
        ``data_samples``.
    """
    dataset = SyntheticScenesDataset(
        size=size,
        num_scenes=len(labelled),
        seed=seed,
        tasks=tasks or TASKS,
        pipeline=[
            dict(type='LoadMultiTaskImage'),
            dict(type='LoadMultiTaskAnnotations'),
            dict(type='PackMultiTaskInputs'),
        ],
    )
    batch: dict = dict(inputs=[], data_samples=[])
    for i, names in enumerate(labelled):
        item = dataset[i]
        for name in list(item['data_samples'].gt_maps.keys()):
            if name not in names:
                item['data_samples'].gt_maps.pop(name)
        for key in batch:
            batch[key].append(item[key])
    return batch


def tiny_run(tasks: dict | None = None) -> dict:
    """Return the config of a complete run that takes seconds, on scenes.

    Merge it over ``configs/_base_/default_runtime.py``. The tasks are filled
    in for model and data sets, so that it can also be built without
    :func:`mmprotomtl.engine.load_config`.

    Args:
        tasks: The ``tasks`` of a config; None: all six.
    """
    tasks = tasks or TASKS
    load = [
        dict(type='LoadMultiTaskImage'),
        dict(type='LoadMultiTaskAnnotations'),
    ]
    scenes = dict(type='SyntheticScenesDataset', size=(32, 48), tasks=tasks)
    return dict(
        tasks=tasks,
        model=tiny_cfg(tasks),
        train_dataloader=dict(
            batch_size=4,
            num_workers=2,
            persistent_workers=True,
            sampler=dict(type='SeededSampler', shuffle=True),
            dataset=dict(
                scenes,
                num_scenes=24,
                partial_labels=dict(protocol='one-label', seed=0),
                pipeline=[
                    *load,
                    dict(type='MultiTaskRandomScaleCrop'),
                    dict(type='MultiTaskRandomFlip', prob=0.5),
                    dict(type='PackMultiTaskInputs'),
                ],
            ),
        ),
        test_dataloader=dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            dataset=dict(
                scenes,
                num_scenes=6,
                split='test',
                test_mode=True,
                pipeline=[*load, dict(type='PackMultiTaskInputs')],
            ),
        ),
        test_evaluator=dict(type='MultiTaskMetric'),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        test_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        default_hooks=dict(logger=dict(interval=1)),
    )
