# Data sets in the form of MTAN, with a published label mask. A file that
# inherits this one adds `dataset_type`, `data_root` and `tasks`.
_base_ = './dataloaders.py'

train_dataloader = dict(
    dataset=dict(
        data_root='${data_root}',
        partial_labels=dict(mask_file='${data_root}/onelabel.pth'),
    )
)
val_dataloader = dict(dataset=dict(data_root='${data_root}'))
test_dataloader = val_dataloader
