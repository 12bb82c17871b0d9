# ViT-L/16: one scale, from scratch. For ImageNet weights:
#   --cfg-options model.backbone.init_cfg.type=Pretrained \
#       model.backbone.init_cfg.checkpoint=https://mmassets.onedl.ai/mmclassification/v0/vit/finetune/vit-large-p16_in21k-pre-3rdparty_ft-64xb64_in1k-384_20210928-b20ba619.pth \
#       model.backbone.init_cfg.prefix=backbone.
# or the path of a file downloaded before.
backbone = dict(
    type='mmpretrain.VisionTransformer',
    arch='large',
    # Size of the position embedding; other images have it interpolated.
    img_size=384,
    patch_size=16,
    out_type='featmap',
    out_indices=-1,
    drop_path_rate=0.2,
)
