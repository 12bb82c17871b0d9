# NYU-v2 in the form of MTAN at a size that two CPU cores train. The files may
# have any size; images are reduced to 96x128, predictions are enlarged again
# and scored at the size of the files.
_base_ = './nyuv2_288x384.py'

batch_size = 8
size = (128, 96)  # width, height
train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
    dict(type='MultiTaskResize', scale=size),
    dict(type='MultiTaskRandomScaleCrop', scales=(1.0, 1.2, 1.5)),
    dict(type='MultiTaskRandomFlip', prob=0.5),
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='MultiTaskResize', scale=size),
    dict(type='LoadMultiTaskAnnotations'),
    dict(type='PackMultiTaskInputs'),
]
train_dataloader = dict(
    batch_size=batch_size, dataset=dict(pipeline=train_pipeline)
)
val_dataloader = dict(
    batch_size=batch_size, dataset=dict(pipeline=test_pipeline)
)
test_dataloader = val_dataloader
