# HRNet-W18, from scratch. For ImageNet weights:
#   --cfg-options model.backbone.init_cfg.type=Pretrained \
#       model.backbone.init_cfg.checkpoint=https://mmassets.onedl.ai/mmclassification/v0/hrnet/hrnet-w18_3rdparty_8xb32_in1k_20220120-0c10b180.pth \
#       model.backbone.init_cfg.prefix=backbone.
# or the path of a file downloaded before.
backbone = dict(
    type='mmpretrain.HRNet',
    arch='w18',
    norm_cfg=dict(type='BN', requires_grad=True),
)
