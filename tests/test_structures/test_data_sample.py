"""A sample of several tasks, and its way from a loader worker."""

import pickle
from multiprocessing.reduction import ForkingPickler

import torch
from mmengine.structures import PixelData

from mmprotomtl.structures import MultiTaskDataSample


def test_a_label_or_none():
    sample = MultiTaskDataSample()
    assert sample.label('depth') is None
    depth = torch.rand(1, 2, 3)
    sample.gt_maps = PixelData(depth=depth)
    assert torch.equal(sample.label('depth'), depth)
    assert sample.label('sal') is None


def test_what_a_worker_sends_arrives():
    sample = MultiTaskDataSample(metainfo=dict(sample_id='7', flip=True))
    maps = dict(
        depth=torch.rand(1, 2, 3), sal=torch.ones(1, 2, 3, dtype=torch.uint8)
    )
    sample.gt_maps = PixelData(**maps)
    sent = bytes(ForkingPickler.dumps(sample))
    # Numbers in the message itself: no file that is shared with the worker.
    assert b'rebuild_storage' not in sent and b'_rebuild_tensor' not in sent
    arrived = pickle.loads(sent)
    assert type(arrived) is MultiTaskDataSample
    assert arrived.metainfo == sample.metainfo
    assert set(arrived.gt_maps.keys()) == set(maps)
    for name, value in maps.items():
        assert arrived.label(name).dtype == value.dtype
        assert torch.equal(arrived.label(name), value)
