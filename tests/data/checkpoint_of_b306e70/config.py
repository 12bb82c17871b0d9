# A user's config as it was written at commit b306e70: a shipped one, smaller.
_base_ = (
    '../../../configs/protomtl/'
    'protomtl_r18_1xb8-demo_synthetic-96x128-onelabel.py'
)
size = (48, 64)
batch_size = 4
max_epochs = 40
tasks = dict(_base_.tasks, depth=dict(loss_weight=2.0))
model = dict(
    tasks=tasks,
    backbone=dict(stem_channels=4, base_channels=4),
    neck=dict(
        channels=8,
        num_blocks=1,
        quantizer=dict(num_codes=24, code_dim=8),
        prototype_dim=12,
        reconstruction_channels=4,
    ),
    head=dict(num_heads=2),
)
loader = dict(batch_size=batch_size, num_workers=0, persistent_workers=False)
train_dataloader = dict(
    loader, dataset=dict(size=size, num_scenes=64, tasks=tasks)
)
val_dataloader = dict(
    loader, dataset=dict(size=size, num_scenes=4, tasks=tasks)
)
test_dataloader = dict(
    loader, dataset=dict(size=size, num_scenes=4, tasks=tasks)
)
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = [
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=0.0,
        begin=0,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
