import pytest
from mmengine.dataset import (
    ClassBalancedDataset,
    ConcatDataset,
    RepeatDataset,
)
from mmengine.registry import DefaultScope
from mmengine.runner.runner import _SlicedDataset
from torch.utils.data import ConcatDataset as TorchConcat
from torch.utils.data import Subset

from mmprotomtl.datasets import SyntheticScenesDataset
from mmprotomtl.datasets.unwrap import leaf_datasets, wrapped_datasets
from mmprotomtl.registry import DATASETS


def scenes(number=2, **kwargs):
    return dict(type='SyntheticScenesDataset', num_scenes=number, **kwargs)


NESTED = dict(
    type='RepeatDataset',
    times=2,
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            scenes(2),
            dict(type='RepeatDataset', times=3, dataset=scenes(2)),
        ],
    ),
)


def test_configs():
    found = list(leaf_datasets(NESTED, 'train_dataloader.dataset'))
    first, second = NESTED['dataset']['datasets']
    assert found == [
        ('train_dataloader.dataset.dataset.datasets.0', first),
        (
            'train_dataloader.dataset.dataset.datasets.1.dataset',
            second['dataset'],
        ),
    ]
    assert list(leaf_datasets(first)) == [('', first)]
    assert wrapped_datasets(first) == []
    assert wrapped_datasets(NESTED) == [('dataset', NESTED['dataset'])]


def test_objects():
    with DefaultScope.overwrite_default_scope('mmprotomtl'):
        data = DATASETS.build(NESTED)
    places = [place for place, _ in leaf_datasets(data)]
    assert places == ['dataset.datasets.0', 'dataset.datasets.1.dataset']
    parts = [part for _, part in leaf_datasets(data)]
    assert parts[0] is data.dataset.datasets[0]
    assert parts[1] is data.dataset.datasets[1].dataset


@pytest.mark.parametrize(
    'wrap',
    [
        lambda data: RepeatDataset(data, 2),
        lambda data: ClassBalancedDataset(data, 0.1, lazy_init=True),
        lambda data: ConcatDataset([data]),
        lambda data: TorchConcat([data]),
        lambda data: Subset(data, [1]),
        lambda data: RepeatDataset(DATASETS.build(scenes(2)), 1).dataset,
    ],
)
def test_each_wrapper(wrap):
    data = SyntheticScenesDataset(num_scenes=2)
    ((_, leaf),) = leaf_datasets(wrap(data))
    assert isinstance(leaf, SyntheticScenesDataset)


def test_num_batch_per_epoch_is_no_key():
    """And it answers for what is inside it, which must not be passed over."""
    data = SyntheticScenesDataset(num_scenes=4)
    parts = Subset(Subset(data, [0, 1, 2]), [1, 2])
    sliced = _SlicedDataset(parts, 1)
    assert wrapped_datasets(sliced, 'a') == [('a', parts)]
    assert list(leaf_datasets(sliced, 'a')) == [('a.dataset.dataset', data)]


def test_attributes_of_a_data_set_do_not_make_it_a_wrapper():
    data = SyntheticScenesDataset(num_scenes=2)
    data.dataset = data.datasets = [data]
    assert list(leaf_datasets(data)) == [('', data)]
    options = dict(scenes(), dataset='name', datasets='names')
    assert list(leaf_datasets(options)) == [('', options)]
