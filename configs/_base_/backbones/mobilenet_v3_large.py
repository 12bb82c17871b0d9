# MobileNet-v3 large, from scratch. For ImageNet weights:
#   --cfg-options model.backbone.init_cfg.type=Pretrained \
#       model.backbone.init_cfg.checkpoint=https://mmassets.onedl.ai/mmclassification/v0/mobilenet_v3/mobilenet-v3-large_8xb128_in1k_20221114-0ed9ed9a.pth \
#       model.backbone.init_cfg.prefix=backbone.
# or the path of a file downloaded before.
backbone = dict(
    type='mmpretrain.MobileNetV3',
    arch='large',
    # Strides 4, 8, 16 and 32.
    out_indices=(3, 6, 12, 16),
)
