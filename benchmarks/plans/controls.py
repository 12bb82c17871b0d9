"""Arms that say which part of the method carries what.

``ARMS`` has name -> ``config``, a file below the checkout, and ``options``, as
for ``--cfg-options``. ``docs/method.md`` says what each setting does.
"""

BASELINE = 'configs/baselines/mtl_r18_1xb8-20e_nyuv2-96x128-onelabel.py'
METHOD = 'configs/protomtl/protomtl_r18_1xb8-20e_nyuv2-96x128-onelabel.py'
#: Replaces the memory by a learned token and removes L_tke.
TOKEN = {
    'model.neck.memory.type': 'TokenMemory',
    'model.neck.akg_loss.tke_weight': 0.0,
}

ARMS = {
    'baseline': dict(config=BASELINE, options={}),
    # The ladder of the paper: none, + tae, + tke, + tc. The first is the
    # baseline, the last is the method.
    '+ tae': dict(config=METHOD, options={'num_blocks': 0, 'lambda_akg': 0.0}),
    '+ tke': dict(
        config=METHOD, options={'model.neck.akg_loss.tc_weight': 0.0}
    ),
    'method': dict(config=METHOD, options={}),
    # The method without one of its parts. The one without L_tc is '+ tke'.
    'no transformer': dict(config=METHOD, options={'num_blocks': 0}),
    'learned token, no L_tke': dict(config=METHOD, options=TOKEN),
    'learned token, no L_tae, L_tke, L_tc': dict(
        config=METHOD,
        options={**TOKEN, 'lambda_tae': 0.0, 'lambda_akg': 0.0},
    ),
    'uniform affinity': dict(
        config=METHOD, options={'model.neck.memory.uniform': True}
    ),
    'frozen random prototypes': dict(
        config=METHOD, options={'model.neck.freeze_prototypes': True}
    ),
    'no codebook': dict(config=METHOD, options={'num_codes': 0}),
    'no L_tae': dict(config=METHOD, options={'lambda_tae': 0.0}),
    'no L_tke': dict(
        config=METHOD, options={'model.neck.akg_loss.tke_weight': 0.0}
    ),
}
