"""NYUD-v2 in the form of MTAN at 96x128: does retrieval help?

A frozen EfficientNet-Lite0, features of 8 fixed views of each image, 60
epochs. The 654 test images are scored once for each run, after its last epoch;
nothing is chosen on them. Directions, changes of the method, are compared on a
part of the training images, by the labels that are visible there.
"""

import runpy
from pathlib import Path

data_root = 'data/nyuv2'
prepare = """\
    python ../shared/data/expand_nyud.py data/nyuv2 --layout mtan --size 96 128
    cp ../shared/data/partial_labels/nyuv2/*.pth data/nyuv2/"""
shape = (96, 128)

HERE = Path(__file__).parent
SAID = runpy.run_path(str(HERE / 'controls.py'))
BASELINE, METHOD = SAID['BASELINE'], SAID['METHOD']
TASKS = ('semseg', 'depth', 'normals')
MAIN = ('baseline', 'wide', 'method', 'wide_flops')
SINGLE = tuple(f'single_{task}' for task in TASKS)
CONTROLS = tuple(name for name in SAID['ARMS'] if name not in MAIN)
DIRECTIONS = tuple(SAID['DIRECTIONS'])
#: Arms with more labels than the others: those that follow from visible ones.
DERIVED = ('baseline_derived', 'wide_derived', 'method_derived')


def wide(count, **options):
    """The baseline, widened until it has as many as the method."""
    like = dict(arm='method', count=count, setting='channels')
    return dict(config=BASELINE, like=like, options=options)


FOLLOW = {'train_dataloader.dataset.derived_labels': True}
arms = dict(
    **SAID['ARMS'],
    **SAID['DIRECTIONS'],
    wide=wide('parameters'),
    wide_flops=wide('flops'),
    baseline_derived=dict(config=BASELINE, options=FOLLOW),
    wide_derived=wide('parameters', **FOLLOW),
    method_derived=dict(config=METHOD, options=FOLLOW),
    **{
        f'single_{task}': dict(config=BASELINE, options=dict(only_task=task))
        for task in TASKS
    },
)

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
    *((arm, 'onelabel', 'carved', 0) for arm in (*MAIN[:3], *DIRECTIONS)),
    *((arm, 'onelabel', 'test', seed) for seed in FIRST for arm in DERIVED),
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
