_base_ = './stl-normals_r18_1xb8-20e_nyuv2-96x128-onelabel.py'

train_dataloader = dict(
    dataset=dict(partial_labels=dict(mask_file='data/nyuv2/randomlabels.pth'))
)
