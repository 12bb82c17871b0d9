# ResNet-50, from scratch. For ImageNet weights:
#   --cfg-options model.backbone.init_cfg.type=Pretrained \
#       model.backbone.init_cfg.checkpoint=torchvision://resnet50
# or the path of a file downloaded before.
backbone = dict(
    type='mmpretrain.ResNet',
    depth=50,
    out_indices=(0, 1, 2, 3),
    norm_cfg=dict(type='BN', requires_grad=True),
)
