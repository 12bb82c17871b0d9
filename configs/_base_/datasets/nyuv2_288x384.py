# NYU-v2 in the form of MTAN, 13 classes, 3 tasks, at its own size.
dataset_type = 'NYUv2Dataset'
data_root = 'data/nyuv2'
batch_size = 4

tasks = dict(
    semseg=dict(num_classes=13),
    depth=dict(metric='absErr'),
    normals=dict(loss_weight=1.0),
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
        data_root=data_root,
        split='train',
        partial_labels=dict(mask_file=data_root + '/onelabel.pth'),
        pipeline=train_pipeline,
    ),
)
# The published set has no validation part: `val` is the official test set. It
# is looked at once, at the end, and no checkpoint is chosen on it.
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MultiTaskMetric')
test_evaluator = val_evaluator
