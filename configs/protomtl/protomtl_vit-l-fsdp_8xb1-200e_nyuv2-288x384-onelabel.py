# ViT-L, its weights spread over the GPUs (FSDP by mmengine's FlexibleRunner):
#   tools/dist_train.sh CONFIG 8 --amp bfloat16
_base_ = [
    '../_base_/models/protomtl.py',
    '../_base_/backbones/vit_large.py',
    '../_base_/datasets/nyuv2_288x384.py',
    '../_base_/schedules/adam_200e.py',
    '../_base_/default_runtime.py',
]
batch_size = 1  # of each GPU
runner_type = 'FlexibleRunner'
strategy = dict(type='mmprotomtl.ShardedStrategy')
