_base_ = './stl-semseg_r18_1xb4-200e_synthetic-288x384-onelabel.py'

train_dataloader = dict(
    dataset=dict(partial_labels=dict(_delete_=True, protocol='full'))
)
