# The baseline at a size that two CPU cores train.
_base_ = './mtl.py'

channels = 128
