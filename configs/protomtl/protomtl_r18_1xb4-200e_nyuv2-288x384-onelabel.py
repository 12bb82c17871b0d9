_base_ = [
    '../_base_/models/protomtl.py',
    '../_base_/backbones/resnet18.py',
    '../_base_/datasets/nyuv2_288x384.py',
    '../_base_/schedules/adam_200e.py',
    '../_base_/default_runtime.py',
]
