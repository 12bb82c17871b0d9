_base_ = './mtl_r18_1xb8-demo_synthetic-96x128-onelabel.py'

# A single task, trained on the images that the multi-task run sees labels of.
tasks = dict(depth=_base_.tasks.depth)
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
