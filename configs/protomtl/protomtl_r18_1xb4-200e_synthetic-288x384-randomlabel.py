_base_ = './protomtl_r18_1xb4-200e_synthetic-288x384-onelabel.py'

train_dataloader = dict(
    dataset=dict(partial_labels=dict(protocol='random-label'))
)
