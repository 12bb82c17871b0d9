# NYUD-v2: 40 classes, 4 tasks, in the recipe of ATRC, InvPT and DiffusionMTL.
_base_ = './atrc.py'

dataset_type = 'NYUDv2Dataset'
data_root = 'data/nyudv2'
size = (448, 576)  # height, width of crops and of padded test images
tasks = dict(
    semseg=dict(num_classes=40),
    depth=dict(),
    normals=dict(),
    edge=dict(max_dist=0.011),
)
train_dataloader = dict(
    dataset=dict(partial_labels=dict(protocol='one-label', seed=0))
)
