# The method (arXiv 2601.07474) at the paper's sizes. [P]: stated there, [?]:
# our choice, which docs/method.md explains. Each of these settings acts where
# `model` names it, by `temperature = 0.5` in a config that inherits this one or
# by `--cfg-options temperature=0.5`.
_base_ = './mtl.py'

num_codes = 4096  # K [P]; 0: no codebook
code_dim = 512  # c, as wide as the shared features
prototypes_per_task = 1  # [P]
num_slots = None  # prototypes, None: prototypes_per_task for each task [P]
prototype_dim = 1024  # d [P]
temperature = 1.0  # of the affinities [?]
# With both, the temperature goes from `temperature` to this in as many steps.
temperature_end = None
temperature_steps = None
# Affinity to its own prototypes from which on a position adds nothing to L_tke.
tke_enough = 1.0
token_stride = 2  # positions a side that become one token [?]
num_blocks = 2  # of the retrieval transformer, 0: there is none [?]
num_heads = 8  # [?]
ffn_ratio = 2.0  # hidden width of the transformer's FFN / channels [?]
# 'none', or 'conv': a depthwise 3x3 convolution before each block
position_encoding = 'none'
lambda_tae = 1.0  # factor of L_tae [?]
lambda_akg = 1.0  # factor of L_akg = L_tke + L_tc [?]

model = dict(
    neck=dict(
        type='PrototypeNeck',
        quantizer=dict(
            type='VectorQuantizer',
            num_codes='${num_codes}',
            code_dim='${code_dim}',
        ),
        num_slots='${num_slots}',
        prototypes_per_task='${prototypes_per_task}',
        prototype_dim='${prototype_dim}',
        temperature='${temperature}',
        temperature_end='${temperature_end}',
        temperature_steps='${temperature_steps}',
        memory=dict(type='PrototypeMemory'),
        token_stride='${token_stride}',
        akg_loss=dict(type='AKGLoss', margin=0.3, tke_enough='${tke_enough}'),
        lambda_tae='${lambda_tae}',
        lambda_akg='${lambda_akg}',
    ),
    head=dict(
        type='RetrievalTransformerHead',
        num_blocks='${num_blocks}',
        num_heads='${num_heads}',
        ffn_ratio='${ffn_ratio}',
        position_encoding='${position_encoding}',
    ),
)
