# A few minutes on two CPU cores.
_base_ = './adamw_20e.py'

max_epochs = 8
optim_wrapper = dict(optimizer=dict(lr=1e-3))
