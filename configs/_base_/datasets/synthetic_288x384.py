# Rendered scenes with labels of all six tasks; nothing to download.
_base_ = './dataloaders.py'

dataset_type = 'SyntheticScenesDataset'
size = (288, 384)  # height, width
num_train = 1024  # scenes to train on
num_test = 256  # other scenes for validation, and as many for the test
tasks = dict(
    semseg=dict(num_classes=7),
    human_parts=dict(),
    sal=dict(),
    normals=dict(),
    edge=dict(max_dist=0.011, num_thresholds=19),
    depth=dict(),
)
train_dataloader = dict(
    dataset=dict(
        size='${size}',
        num_scenes='${num_train}',
        partial_labels=dict(protocol='one-label', seed=0),
    )
)
val_dataloader = dict(dataset=dict(size='${size}', num_scenes='${num_test}'))
test_dataloader = dict(
    dataset=dict(size='${size}', num_scenes='${num_test}', split='test')
)
