_base_ = './mtl_r18_1xb4-200e_nyuv2-288x384-onelabel.py'

# A single task, trained on the images that the multi-task run sees labels of.
tasks = dict(normals=_base_.tasks.normals)
only = dict(tasks=dict(_delete_=True, **tasks))
model = only
train_dataloader = dict(
    dataset=dict(filter_cfg=dict(drop_unlabelled=True), **only)
)
val_dataloader = dict(dataset=only)
test_dataloader = dict(dataset=only)
