# Procedural scenes with all six tasks; nothing to download.
dataset_type = 'SyntheticScenesDataset'
batch_size = 4
size = (288, 384)  # height, width
num_train, num_test = 1024, 256

tasks = dict(
    semseg=dict(num_classes=7),
    human_parts=dict(),
    sal=dict(),
    normals=dict(),
    edge=dict(max_dist=0.011, num_thresholds=19),
    depth=dict(),
)
train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
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
    batch_size=batch_size,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        size=size,
        num_scenes=num_train,
        split='train',
        partial_labels=dict(protocol='one-label', seed=0),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type=dataset_type,
        size=size,
        num_scenes=num_test,
        split='val',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=batch_size,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type=dataset_type,
        size=size,
        num_scenes=num_test,
        split='test',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
val_evaluator = dict(type='MultiTaskMetric')
test_evaluator = val_evaluator
