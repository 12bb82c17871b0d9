# The encoder of SegNet (VGG-16 with batch norm), as in the tables of MTPSL, from scratch. For ImageNet weights:
#   --cfg-options model.backbone.init_cfg.type=Pretrained \
#       model.backbone.init_cfg.checkpoint=https://mmassets.onedl.ai/mmclassification/v0/vgg/vgg16_bn_batch256_imagenet_20210208-7e55cd29.pth \
#       model.backbone.init_cfg.prefix=backbone.
# or the path of a file downloaded before.
backbone = dict(
    type='mmpretrain.VGG',
    depth=16,
    norm_cfg=dict(type='BN', requires_grad=True),
    out_indices=(1, 2, 3, 4),
)
