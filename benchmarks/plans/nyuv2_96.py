"""NYUD-v2 in the form of MTAN at 96x128: does retrieval help?

A frozen EfficientNet-Lite0, features of 8 fixed views of each image, 60
epochs. The 654 test images are scored once for each run, after its last epoch;
nothing is chosen on them.
"""

data_root = 'data/nyuv2'
prepare = """\
    python ../shared/data/expand_nyud.py data/nyuv2 --layout mtan --size 96 128
    cp ../shared/data/partial_labels/nyuv2/*.pth data/nyuv2/"""
shape = (96, 128)

METHOD = 'configs/protomtl/protomtl_lite0_1xb16-60e_nyuv2-96x128-onelabel.py'
BASELINE = 'configs/baselines/mtl_lite0_1xb16-60e_nyuv2-96x128-onelabel.py'
TASKS = ('semseg', 'depth', 'normals')
MAIN = ('baseline', 'wide', 'method', 'wide_flops')
SINGLE = tuple(f'single_{task}' for task in TASKS)


def method(**options):
    """An arm of the method: settings that differ from the paper's."""
    return dict(config=METHOD, options=options)


def wide(count):
    """The baseline, widened until it has as many as the method."""
    like = dict(arm='method', count=count, setting='channels')
    return dict(config=BASELINE, like=like)


arms = dict(
    baseline=dict(config=BASELINE),
    wide=wide('parameters'),
    wide_flops=wide('flops'),
    method=method(),
    **{
        f'single_{task}': dict(config=BASELINE, options=dict(only_task=task))
        for task in TASKS
    },
    # Controls. The head of the baseline on the neck of the method: no
    # transformer.
    no_transformer=method(
        **{'model.head': dict(_delete_=True, type='MultiTaskHead')}
    ),
    # A learned token in place of the prototypes, without their losses.
    learned_token=method(
        lambda_akg=0.0, **{'model.neck.memory.type': 'TokenMemory'}
    ),
    # The paper's ladder.
    no_losses=method(lambda_tae=0.0, lambda_akg=0.0),
    tae=method(lambda_akg=0.0),
    no_tae=method(lambda_tae=0.0),
    frozen_prototypes=method(**{'model.neck.freeze_prototypes': True}),
)
CONTROLS = (
    'no_transformer', 'learned_token', 'no_losses', 'tae', 'no_tae',
    'frozen_prototypes',
)  # fmt: skip

MASK = 'train_dataloader.dataset.partial_labels'
labels = dict(
    onelabel={},
    randomlabel={MASK: '{data_root}/randomlabels.pth'},
    full={MASK: 'full'},
    # Other draws of the protocol of the published mask.
    **{
        f'own{number}': {MASK: dict(protocol='one-label', seed=number)}
        for number in (1, 2, 3)
    },
)
parts = dict(test=None, carved=dict(fraction=0.2, every=10))

FIRST, LATER = (0, 1, 2), (3, 4)
runs = [
    *(
        (arm, 'onelabel', 'test', seed)
        for seed in FIRST
        for arm in (*MAIN, *SINGLE)
    ),
    *((arm, 'onelabel', 'test', seed) for seed in FIRST for arm in CONTROLS),
    *(
        (arm, 'onelabel', 'test', seed)
        for seed in LATER
        for arm in (*MAIN, *SINGLE)
    ),
    *(
        (arm, f'own{number}', 'test', 0)
        for number in (1, 2, 3)
        for arm in (*MAIN, *SINGLE)
    ),
    *(
        (arm, protocol, 'test', seed)
        for protocol in ('full', 'randomlabel')
        for seed in (*FIRST, *LATER)
        for arm in (*MAIN, *SINGLE)
    ),
]
shared = {
    'feature_folder': '{work_dir}/features',
    'train_dataloader.num_workers': 0,
    'test_dataloader.num_workers': 0,
    'default_hooks.checkpoint.interval': 5,
    'default_hooks.checkpoint.max_keep_ckpts': 1,
}
tables = [
    dict(
        labels=names, part='test', against=MAIN[:2] + MAIN[3:],
        reference=SINGLE,
    )
    for names in (
        ['onelabel'], ['own1', 'own2', 'own3'], ['randomlabel'], ['full'],
    )
]  # fmt: skip
