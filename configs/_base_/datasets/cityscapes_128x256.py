# Cityscapes in the form of MTAN: 7 classes, 2 tasks, at the size of its files.
_base_ = './mtan.py'

dataset_type = 'CityscapesMTDataset'
data_root = 'data/cityscapes'
batch_size = 8
tasks = dict(
    semseg=dict(num_classes=7),
    depth=dict(unit='disparity', metric='absErr'),
)
