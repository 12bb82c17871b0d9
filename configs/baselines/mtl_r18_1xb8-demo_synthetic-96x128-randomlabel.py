_base_ = './mtl_r18_1xb8-demo_synthetic-96x128-onelabel.py'

train_dataloader = dict(
    dataset=dict(partial_labels=dict(protocol='random-label'))
)
