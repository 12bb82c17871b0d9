# Procedural scenes at a size that two CPU cores train in minutes.
_base_ = './synthetic_288x384.py'

batch_size = 8
size = (96, 128)  # height, width
num_train, num_test = 480, 80

train_dataloader = dict(
    batch_size=batch_size, dataset=dict(size=size, num_scenes=num_train)
)
val_dataloader = dict(
    batch_size=batch_size, dataset=dict(size=size, num_scenes=num_test)
)
test_dataloader = dict(
    batch_size=batch_size, dataset=dict(size=size, num_scenes=num_test)
)
