# What all runs share. `custom_imports` lets mmseg's and mim's own tools run
# our configs.
custom_imports = dict(imports=['mmprotomtl'], allow_failed_imports=False)
default_scope = 'mmprotomtl'
# Hands the config's `tasks` to model and data sets, whoever reads the config.
runner_type = 'mmprotomtl.MultiTaskRunner'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
# Runs are reproducible unless asked otherwise: `--seed N` for another one.
randomness = dict(seed=0)
# A config that inherits this one sets these by name, as
# `default_hooks = dict(non_finite_loss=dict(action='skip'))`, and takes one
# out by None. They stay whatever it lists in `custom_hooks`.
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=2),
    checkpoint_fit=dict(type='CheckpointFitHook'),
    selection=dict(type='CheckpointSelectionHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(
        type='MultiTaskVisualizationHook', val_interval=10, val_images=4
    ),
    iter_seed=dict(type='IterSeedHook'),
    task_check=dict(type='TaskCheckHook'),
    non_finite_loss=dict(type='NonFiniteLossHook'),
    labelled_loss=dict(type='LabelledLossHook'),
    prototype_log=dict(type='PrototypeLogHook'),
    metrics_file=dict(type='MetricsFileHook'),
    schedule=dict(type='ScheduleHook'),
    same_run=dict(type='SameRunHook'),
    finite_predictions=dict(type='FinitePredictionsHook'),
)
custom_hooks = []
visualizer = dict(
    type='MultiTaskLocalVisualizer',
    vis_backends=[dict(type='LocalVisBackend')],
    name='visualizer',
)
log_level = 'INFO'
load_from = None
# Whether weights are loaded of which only a part fits the network.
allow_partial = False
resume = False
