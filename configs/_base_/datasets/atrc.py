# The training recipe of ATRC, which InvPT and DiffusionMTL took over. A file
# that inherits this one adds `dataset_type`, `data_root`, `size`, `tasks` and
# the label mask.
_base_ = './dataloaders.py'

train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
    dict(type='MultiTaskRandomScale', ratio_range=(0.5, 2.0)),
    # Looks at visible labels only.
    dict(type='MultiTaskRandomCrop', crop_size='${size}', cat_max_ratio=0.75),
    dict(type='MultiTaskRandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='MultiTaskPad', size='${size}'),
    dict(type='PackMultiTaskInputs'),
]
# The image is padded and its labels are not: predictions are scored at the
# size of the labels.
test_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='MultiTaskPad', size='${size}'),
    dict(type='LoadMultiTaskAnnotations'),
    dict(type='PackMultiTaskInputs'),
]
train_dataloader = dict(dataset=dict(data_root='${data_root}'))
val_dataloader = dict(dataset=dict(data_root='${data_root}'))
test_dataloader = val_dataloader
