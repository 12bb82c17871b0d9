# MiT-B0 (SegFormer), from scratch. For ImageNet weights:
#   --cfg-options model.backbone.init_cfg.type=Pretrained \
#       model.backbone.init_cfg.checkpoint=https://mmassets.onedl.ai/mmsegmentation/v0.5/pretrain/segformer/mit_b0_20220624-7e0fe6dd.pth
# or the path of a file downloaded before.
backbone = dict(
    type='mmseg.MixVisionTransformer',
    embed_dims=32,
    num_layers=(2, 2, 2, 2),
    num_heads=(1, 2, 5, 8),
    patch_sizes=(7, 3, 3, 3),
    sr_ratios=(8, 4, 2, 1),
    out_indices=(0, 1, 2, 3),
    mlp_ratio=4,
    qkv_bias=True,
    drop_path_rate=0.1,
)
