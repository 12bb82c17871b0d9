_base_ = [
    '../_base_/models/mtl_small.py',
    '../_base_/backbones/resnet18.py',
    '../_base_/datasets/nyuv2_96x128.py',
    '../_base_/schedules/adamw_20e.py',
    '../_base_/default_runtime.py',
]
