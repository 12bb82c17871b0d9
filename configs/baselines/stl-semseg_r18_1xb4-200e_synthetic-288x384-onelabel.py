_base_ = './mtl_r18_1xb4-200e_synthetic-288x384-onelabel.py'

# A single task, trained on the images that the multi-task run sees labels of.
tasks = dict(semseg=_base_.tasks.semseg)
only = dict(tasks=dict(_delete_=True, **tasks))
model = only
train_dataloader = dict(
    dataset=dict(
        filter_cfg=dict(drop_unlabelled=True),
        partial_labels=dict(tasks=list(_base_.tasks)),
        **only,
    )
)
val_dataloader = dict(dataset=only)
test_dataloader = dict(dataset=only)
