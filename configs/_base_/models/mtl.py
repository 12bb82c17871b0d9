# The plain multi-task baseline: fused scales, then a decoder and a linear head
# for each task. A config that inherits this one adds a `backbone` (one of
# _base_/backbones) and the `tasks` (one of _base_/datasets).
# '${channels}' stands for the top-level setting `channels`: set it by
# `channels = 64` in a config that inherits this one, or by
# `--cfg-options channels=64`.
channels = 512  # width of shared and task features
stride = 8  # of shared and task features
decoder_blocks = 2  # residual blocks of a task decoder
# 'batch', 'balanced' or 'per-task': losses of a partially labelled batch
reduction = 'balanced'
# Weight of the consistency of features between two views, of the tasks that an
# image has no label of; 0: there is none. See FeatureConsistency.
consistency_weight = 0

model = dict(
    type='MultiTaskSegmentor',
    data_preprocessor=dict(
        type='MultiTaskDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    # The entries of the top-level dict `backbone`.
    backbone=dict(_from_='backbone'),
    neck=dict(
        type='MultiTaskNeck',
        channels='${channels}',
        stride='${stride}',
        num_blocks='${decoder_blocks}',
    ),
    head=dict(type='MultiTaskHead', reduction='${reduction}'),
    consistency=dict(weight='${consistency_weight}'),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
