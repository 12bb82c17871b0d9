# The recipe of the paper and of DiffusionMTL: Adam 2e-5, poly 0.9, clip 10.
max_epochs = 200
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=2e-5, weight_decay=1e-6),
    clip_grad=dict(max_norm=10, norm_type=2),
)
# Without `end` it ends with the run, and counts iterations as those do.
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, by_epoch=False)
]
train_cfg = dict(
    by_epoch=True,
    max_epochs='${max_epochs}',
    # Longer than any run: validation once, after the last epoch.
    val_interval=10**9,
)
val_cfg = dict()
test_cfg = dict()
