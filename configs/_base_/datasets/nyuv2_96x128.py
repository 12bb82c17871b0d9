# NYU-v2 in the form of MTAN at a size that two CPU cores train. The files may
# have any size; images are reduced, predictions are enlarged again and scored
# at the size of the files.
_base_ = './nyuv2_288x384.py'

batch_size = 8
scale = (128, 96)  # width, height that images are reduced to
train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
    dict(type='MultiTaskResize', scale='${scale}'),
    dict(type='MultiTaskRandomScaleCrop', scales=(1.0, 1.2, 1.5)),
    dict(type='MultiTaskRandomFlip', prob=0.5),
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='MultiTaskResize', scale='${scale}'),
    dict(type='LoadMultiTaskAnnotations'),
    dict(type='PackMultiTaskInputs'),
]
