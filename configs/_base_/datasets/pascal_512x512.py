# PASCAL-Context: 5 tasks, in the recipe of ATRC, InvPT and DiffusionMTL.
_base_ = './atrc.py'

dataset_type = 'PASCALContextMTDataset'
data_root = 'data/pascal'
size = (512, 512)  # height, width of crops and of padded test images
tasks = dict(
    semseg=dict(num_classes=21),
    human_parts=dict(),
    sal=dict(),
    normals=dict(),
    edge=dict(max_dist=0.0075),
)
train_dataloader = dict(
    dataset=dict(
        # The published label mask.
        partial_labels=dict(mask_file='${data_root}/new_onelabel.pth')
    )
)
