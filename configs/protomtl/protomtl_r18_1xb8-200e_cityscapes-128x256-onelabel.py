_base_ = [
    '../_base_/models/protomtl.py',
    '../_base_/backbones/resnet18.py',
    '../_base_/datasets/cityscapes_128x256.py',
    '../_base_/schedules/adam_200e.py',
    '../_base_/default_runtime.py',
]
