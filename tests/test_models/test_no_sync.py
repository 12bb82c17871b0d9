"""A training step never asks the device for a value."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch.utils._python_dispatch import TorchDispatchMode

from mmprotomtl.testing import PLAIN, scene_batch, tiny_model

#: What a GPU has to be waited for: values, and shapes that depend on them.
WAITS = (
    '_local_scalar_dense',
    'nonzero',
    'masked_select',
    '_unique2',
    'equal',
    # On a GPU it looks for the largest value first.
    'bincount',
)


class CountWaits(TorchDispatchMode):
    """Names of the operations that make the host wait."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.split('::')[1]
        # An index by a mask looks up where the mask is set.
        masked = name in ('index', 'index_put', 'index_put_') and any(
            i is not None and i.dtype == torch.bool for i in args[1]
        )
        if name in WAITS or masked:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


LABELS = [['semseg', 'edge'], ['depth'], ['normals'], []]


@pytest.mark.parametrize('kind', ['method', 'ema', 'baseline'])
def test_a_step_does_not_wait(kind):
    quantizer = dict(
        type='VectorQuantizer', num_codes=24, code_dim=16, update='ema',
        replace_below=0.5,
    )  # fmt: skip
    settings = dict(
        method={}, ema=dict(neck=dict(quantizer=quantizer)), baseline=PLAIN
    )
    model = tiny_model(**settings[kind]).train()
    wrapper = build_optim_wrapper(
        model, dict(optimizer=dict(type='SGD', lr=0.01))
    )
    model.train_step(scene_batch(LABELS), wrapper)
    # The images are on the device before the losses are asked for.
    batch = model.data_preprocessor(scene_batch(LABELS), True)
    with CountWaits() as counter:
        losses = model.loss(**batch)
        total, _ = model.parse_losses(losses)
        wrapper.update_params(total)
    assert counter.found == []


def test_the_count_counts():
    with CountWaits() as counter:
        values = torch.arange(4)
        values[values > 1].sum().item()
    assert counter.found == ['index', '_local_scalar_dense']
