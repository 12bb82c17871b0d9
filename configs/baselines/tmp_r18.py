_base_ = [
    '../_base_/models/mtl_small.py',
    '../_base_/backbones/resnet18.py',
    '../_base_/datasets/nyuv2_96x128.py',
    '../_base_/schedules/adamw_20e.py',
    '../_base_/frozen_backbone.py',
    '../_base_/default_runtime.py',
]
channels = 64
batch_size = 16
max_epochs = 60
