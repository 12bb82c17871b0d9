# ViT-B/16: one scale, from scratch. For ImageNet weights:
#   --cfg-options model.backbone.init_cfg.type=Pretrained \
#       model.backbone.init_cfg.checkpoint=https://mmassets.onedl.ai/mmclassification/v0/vit/vit-base-p16_pt-32xb128-mae_in1k_20220623-4c544545.pth \
#       model.backbone.init_cfg.prefix=backbone.
# or the path of a file downloaded before.
backbone = dict(
    type='mmpretrain.VisionTransformer',
    arch='base',
    # Size of the position embedding; other images have it interpolated.
    img_size=224,
    patch_size=16,
    out_type='featmap',
    out_indices=-1,
    drop_path_rate=0.1,
)
