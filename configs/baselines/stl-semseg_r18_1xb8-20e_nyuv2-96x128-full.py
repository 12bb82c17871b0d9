_base_ = './stl-semseg_r18_1xb8-20e_nyuv2-96x128-onelabel.py'

train_dataloader = dict(
    dataset=dict(partial_labels=dict(_delete_=True, protocol='full'))
)
