# Data loaders and the simplest pipelines, for all data sets. A string such as
# '${batch_size}' stands for the setting of that name at the top level of the
# finished config: a config that inherits this one sets it by
# `batch_size = 2`, a command by `--cfg-options batch_size=2`.
# A file that inherits this one adds `dataset_type`, `tasks` and what the data
# set needs besides.
batch_size = 4  # images per process, in training and in tests

train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
    # The augmentation of MTAN.
    dict(type='MultiTaskRandomScaleCrop', scales=(1.0, 1.2, 1.5)),
    dict(type='MultiTaskRandomFlip', prob=0.5),
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
    dict(type='PackMultiTaskInputs'),
]
train_dataloader = dict(
    batch_size='${batch_size}',
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        type='${dataset_type}', split='train', pipeline='${train_pipeline}'
    ),
)
# The published data sets have no validation part: `val` is the official test
# set. It is looked at once, at the end, and no checkpoint is chosen on it.
val_dataloader = dict(
    batch_size='${batch_size}',
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='${dataset_type}',
        split='val',
        test_mode=True,
        pipeline='${test_pipeline}',
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MultiTaskMetric')
test_evaluator = val_evaluator
