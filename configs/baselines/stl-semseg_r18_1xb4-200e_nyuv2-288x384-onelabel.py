_base_ = './mtl_r18_1xb4-200e_nyuv2-288x384-onelabel.py'

# A single task, trained on the images that the multi-task run sees labels of.
only_task = 'semseg'
