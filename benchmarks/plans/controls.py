"""Arms that say which part of the method carries what, and directions.

``ARMS`` has name -> ``config``, a file below the checkout, and ``options``, as
for ``--cfg-options``; ``DIRECTIONS`` has, in the same form, changes within the
method's idea. ``docs/method.md`` says what each setting does.
"""

BASELINE = 'configs/baselines/mtl_lite0_1xb16-60e_nyuv2-96x128-onelabel.py'
METHOD = 'configs/protomtl/protomtl_lite0_1xb16-60e_nyuv2-96x128-onelabel.py'


def method(options: dict | None = None) -> dict:
    """The method, with settings that differ from the paper's."""
    return dict(config=METHOD, options=options or {})


TOKEN = 'model.neck.memory.type'
TKE = 'model.neck.akg_loss.tke_weight'
TC = 'model.neck.akg_loss.tc_weight'

ARMS = dict(
    baseline=dict(config=BASELINE, options={}),
    # The ladder of the paper is none, + tae, + tke, + tc: baseline, only_tae,
    # no_tc, method.
    only_tae=method({'num_blocks': 0, 'lambda_akg': 0.0}),
    method=method(),
    # The method without one of its parts.
    no_transformer=method({'num_blocks': 0}),
    no_codebook=method({'num_codes': 0}),
    no_tae=method({'lambda_tae': 0.0}),
    no_tke=method({TKE: 0.0}),
    no_tc=method({TC: 0.0}),
    # With something simpler in its place.
    uniform_affinity=method({'model.neck.memory.uniform': True}),
    frozen_prototypes=method({'model.neck.freeze_prototypes': True}),
    learned_token=method({TOKEN: 'TokenMemory', TKE: 0.0}),
    # The transformer alone.
    learned_token_no_losses=method(
        {TOKEN: 'TokenMemory', 'lambda_tae': 0.0, 'lambda_akg': 0.0}
    ),
)

QUANTIZER = 'model.neck.quantizer'
DIRECTIONS = dict(
    position=method({'position_encoding': 'conv'}),
    token_stride_1=method({'token_stride': 1}),
    prototypes_16=method({'prototypes_per_task': 16, 'temperature': 0.1}),
    # Half of the steps, 60 epochs of 50.
    cooling=method({'temperature_end': 0.1, 'temperature_steps': 1500}),
    tke_enough=method({'tke_enough': 0.5}),
    values_of_image=method({TOKEN: 'KeyValueMemory'}),
    values_near=method(
        {TOKEN: 'KeyValueMemory', 'model.neck.memory.window': 3}
    ),
    consistency=method({'consistency_weight': 1.0}),
    used_codebook=method(
        {
            'code_dim': 8,
            f'{QUANTIZER}.update': 'ema',
            f'{QUANTIZER}.distance': 'cosine',
            f'{QUANTIZER}.kmeans_steps': 10,
            f'{QUANTIZER}.replace_below': 1.0,
        }
    ),
)
