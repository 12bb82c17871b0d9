_base_ = './mtl_r18_1xb8-demo_synthetic-96x128-onelabel.py'

# A single task, trained on the images that the multi-task run sees labels of.
only_task = 'depth'
