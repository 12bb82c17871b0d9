# Training on your own pictures, of which each is labelled for some tasks only.
#
#   data/mine/images/{name}.jpg   all pictures
#   data/mine/masks/{name}.png    classes of some of them: 1 .. 8, 0 = unknown
#   data/mine/depth/{name}.png    depth of others, in millimetres, 0 = unknown
#
#   python tools/check_dataset.py demo/own_data.py
#   python tools/train.py demo/own_data.py
#   python tools/test.py demo/own_data.py work_dirs/own_data/epoch_20.pth
_base_ = [
    '../configs/_base_/models/protomtl_small.py',
    '../configs/_base_/backbones/resnet18.py',
    '../configs/_base_/schedules/adamw_20e.py',
    '../configs/_base_/default_runtime.py',
]
model = dict(backbone=_base_.backbone)
tasks = dict(semseg=dict(num_classes=8), depth=dict())

# The longer side becomes 512 pixels at most, the shorter one 384.
resize = dict(type='MultiTaskResize', scale=(512, 384), keep_ratio=True)
train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
    resize,
    dict(type='MultiTaskRandomScaleCrop', scales=(1.0, 1.2, 1.5)),
    dict(type='MultiTaskRandomFlip', prob=0.5),
    dict(type='PackMultiTaskInputs'),
]
# Labels are read after the resizing: scores are of the original size.
test_pipeline = [
    dict(type='LoadMultiTaskImage'),
    resize,
    dict(type='LoadMultiTaskAnnotations'),
    dict(type='PackMultiTaskInputs'),
]
dataset = dict(
    type='ImageFolderMTDataset',
    data_root='data/mine',
    images='images',
    folders=dict(
        semseg=dict(folder='masks', ignore=0, offset=-1),  # 1 .. 8 -> 0 .. 7
        depth=dict(folder='depth', scale=0.001),  # millimetres -> metres
    ),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        **dataset,
        # A tenth of the pictures is held out and scored at the end.
        holdout=dict(fraction=0.1, seed=0, part='train'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        **dataset,
        holdout=dict(fraction=0.1, seed=0, part='val'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MultiTaskMetric')
test_evaluator = val_evaluator
