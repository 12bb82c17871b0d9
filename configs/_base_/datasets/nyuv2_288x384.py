# NYU-v2 in the form of MTAN: 13 classes, 3 tasks, at the size of its files.
_base_ = './mtan.py'

dataset_type = 'NYUv2Dataset'
data_root = 'data/nyuv2'
tasks = dict(
    semseg=dict(num_classes=13),
    depth=dict(metric='absErr'),
    normals=dict(loss_weight=1.0),
)
