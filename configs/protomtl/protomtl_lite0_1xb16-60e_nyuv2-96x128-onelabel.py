# Only neck and head train. Each image has 8 fixed augmentations, whose features
# are computed once and then read (0.5 GB; not: --cfg-options
# feature_folder=None). A run takes minutes on one CPU core.
_base_ = [
    '../_base_/models/protomtl_small.py',
    '../_base_/backbones/efficientnet_lite0.py',
    '../_base_/datasets/nyuv2_96x128.py',
    '../_base_/schedules/adamw_20e.py',
    '../_base_/default_runtime.py',
]
channels = 64
code_dim = 64
batch_size = 16
max_epochs = 60
feature_folder = 'work_dirs/features'

model = dict(freeze_backbone=True)
train_dataloader = dict(dataset=dict(fixed_views=8))
custom_hooks = [dict(type='FeatureCacheHook', folder='${feature_folder}')]
