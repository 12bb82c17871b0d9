# Cityscapes in the form of MTAN: 7 classes, 2 tasks, at the size of its files.
_base_ = './mtan.py'

dataset_type = 'CityscapesMTDataset'
data_root = 'data/cityscapes'
batch_size = 8
tasks = dict(
    semseg=dict(),  # as many classes as the data sets' num_classes
    depth=dict(metric='absErr'),
)
