# One network, trained on several data sets that are labelled for different
# tasks: rooms with depth, streets with classes, photographs with the salient
# object.
#
#   data/rooms/{train,test}/{images,depth}     depth in millimetres
#   data/streets/{train,test}/{images,masks}   classes 0 .. 18, 255 = unknown
#   data/photos/{train,test}/{images,salient}  0 and 255
#
#   python tools/check_dataset.py demo/several_datasets.py
#   python tools/train.py demo/several_datasets.py
#   python tools/test.py demo/several_datasets.py \
#       work_dirs/several_datasets/epoch_20.pth
_base_ = [
    '../configs/_base_/models/protomtl_small.py',
    '../configs/_base_/backbones/resnet18.py',
    '../configs/_base_/schedules/adamw_20e.py',
    '../configs/_base_/default_runtime.py',
]
model = dict(backbone=_base_.backbone)
# The tasks of all data sets; each has labels of those that it has a folder of.
tasks = dict(depth=dict(), semseg=dict(num_classes=19), sal=dict())

resize = dict(type='MultiTaskResize', scale=(512, 384), keep_ratio=True)
train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
    resize,
    dict(type='MultiTaskRandomScaleCrop', scales=(1.0, 1.2, 1.5)),
    dict(type='MultiTaskRandomFlip', prob=0.5),
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [
    dict(type='LoadMultiTaskImage'),
    resize,
    dict(type='LoadMultiTaskAnnotations'),
    dict(type='PackMultiTaskInputs'),
]
rooms = dict(
    type='ImageFolderMTDataset',
    data_root='data/rooms',
    images='{split}/images',
    folders=dict(depth=dict(folder='{split}/depth', scale=0.001)),
)
streets = dict(
    type='ImageFolderMTDataset',
    data_root='data/streets',
    images='{split}/images',
    folders=dict(semseg='{split}/masks'),
)
photos = dict(
    type='ImageFolderMTDataset',
    data_root='data/photos',
    images='{split}/images',
    folders=dict(sal=dict(folder='{split}/salient', scale=1 / 255)),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        type='MultiTaskConcatDataset',
        datasets=[
            dict(**rooms, split='train', pipeline=train_pipeline),
            # Half of the street scenes' labels, drawn at random.
            dict(
                **streets,
                split='train',
                partial_labels=dict(protocol='ratio', ratio=0.5, seed=0),
                pipeline=train_pipeline,
            ),
            dict(**photos, split='train', pipeline=train_pipeline),
        ],
    ),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='MultiTaskConcatDataset',
        datasets=[
            dict(**part, split='test', test_mode=True, pipeline=test_pipeline)
            for part in (rooms, streets, photos)
        ],
    ),
)
val_dataloader = test_dataloader
val_evaluator = dict(type='MultiTaskMetric')
test_evaluator = val_evaluator
