# What config.py says, as it is written today: the tasks once.
_base_ = (
    '../../../configs/protomtl/'
    'protomtl_r18_1xb8-demo_synthetic-96x128-onelabel.py'
)
tasks = dict(depth=dict(loss_weight=2.0))
model = dict(
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
loader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(size=(48, 64), num_scenes=4),
)
train_dataloader = loader
val_dataloader = loader
test_dataloader = loader
