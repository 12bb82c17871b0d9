# PASCAL-Context, 5 tasks, in the recipe of ATRC, InvPT and DiffusionMTL.
dataset_type = 'PASCALContextMTDataset'
data_root = 'data/pascal'
batch_size = 4
size = (512, 512)  # height, width

tasks = dict(
    semseg=dict(num_classes=21),
    human_parts=dict(),
    sal=dict(),
    normals=dict(),
    edge=dict(max_dist=0.0075),
)
train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
    dict(type='MultiTaskRandomScale', ratio_range=(0.5, 2.0)),
    # Looks at visible labels only.
    dict(type='MultiTaskRandomCrop', crop_size=size, cat_max_ratio=0.75),
    dict(type='MultiTaskRandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='MultiTaskPad', size=size),
    dict(type='PackMultiTaskInputs'),
]
# The image is padded, its labels keep their size: so are predictions scored.
test_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='MultiTaskPad', size=size),
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
        partial_labels=dict(mask_file=data_root + '/new_onelabel.pth'),
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
