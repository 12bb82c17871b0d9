# Rendered scenes at a size that two CPU cores train in minutes.
_base_ = './synthetic_288x384.py'

batch_size = 8
size = (96, 128)  # height, width
num_train = 480  # scenes to train on
num_test = 80  # other scenes for validation, and as many for the test
