# The method at a size that two CPU cores train.
_base_ = './protomtl.py'

channels = 128
num_codes = 512
code_dim = 128
prototype_dim = 256
num_heads = 4
