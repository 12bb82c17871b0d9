_base_ = './stl-depth_r18_1xb4-200e_nyuv2-288x384-onelabel.py'

train_dataloader = dict(
    dataset=dict(partial_labels=dict(mask_file='data/nyuv2/randomlabels.pth'))
)
