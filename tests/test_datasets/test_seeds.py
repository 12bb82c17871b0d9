"""What the loader gives follows from seed, epoch and index: it is the same
after a resume, through every wrapper, or the run is refused.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import ClassBalancedDataset, RepeatDataset
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.utils.data import Subset

from mmprotomtl.datasets import SyntheticScenesDataset
from mmprotomtl.datasets.samplers import (
    SeededIndex,
    SeededInfiniteSampler,
    SeededSampler,
    sample_seed,
)
from mmprotomtl.engine.seed_hook import IterSeedHook, check_seeds
from mmprotomtl.registry import DATASETS

SCENES = dict(
    type='SyntheticScenesDataset',
    size=(32, 48),
    num_scenes=3,
    tasks=dict(semseg=dict(num_classes=7)),
    pipeline=[
        dict(type='LoadMultiTaskImage'),
        dict(type='LoadMultiTaskAnnotations'),
        dict(type='MultiTaskRandomScaleCrop'),
        dict(type='MultiTaskRandomFlip', prob=0.5),
        dict(type='PackMultiTaskInputs'),
    ],
)
DATA = dict(
    plain=SCENES,
    RepeatDataset=dict(type='RepeatDataset', times=2, dataset=SCENES),
    ConcatDataset=dict(
        type='ConcatDataset', datasets=[SCENES, dict(SCENES, seed=1)]
    ),
    MultiTaskConcatDataset=dict(
        type='MultiTaskConcatDataset',
        datasets=[SCENES, dict(SCENES, seed=1)],
    ),
    ClassBalancedDataset=dict(
        type='ClassBalancedDataset',
        oversample_thr=0.5,
        dataset=dict(SCENES, type='ScenesWithClasses'),
    ),
)


@DATASETS.register_module()
class ScenesWithClasses(SyntheticScenesDataset):
    """Its second image shows a rare class, so that it comes twice."""

    def get_cat_ids(self, idx):
        return [1] if idx == 1 else [0]


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmprotomtl'):
        yield


def loader(dataset, sampler='SeededSampler', **kwargs):
    return Runner.build_dataloader(
        dict(
            batch_size=2, num_workers=0, sampler=dict(type=sampler),
            dataset=dataset, **kwargs,
        ),
        seed=5,
    )  # fmt: skip


def images(data, epoch, disturb=0):
    """The images of an epoch, wherever the global generators are."""
    np.random.seed(disturb)
    data.sampler.set_epoch(epoch)
    return [image for batch in data for image in batch['inputs']]


def equal(first, second):
    assert len(first) == len(second)
    return [torch.equal(a, b) for a, b in zip(first, second, strict=True)]


@pytest.mark.parametrize('name', DATA)
def test_an_epoch_is_the_same_after_a_resume(name):
    data = loader(DATA[name])
    check_seeds(data)
    epochs = [images(data, epoch) for epoch in range(2)]
    number = len(data.dataset)
    assert number == dict(plain=3, ClassBalancedDataset=4).get(name, 6)
    again = images(loader(DATA[name]), 1, disturb=9)
    assert all(equal(again, epochs[1]))


def test_each_epoch_and_each_repetition_is_augmented_anew():
    """Images are compared by their index: the order differs anyway."""
    for wrapped in ('plain', 'RepeatDataset'):
        data = loader(DATA[wrapped])
        seen = {}
        for epoch in range(4):
            data.sampler.set_epoch(epoch)
            seeds = {int(i): sample_seed(i) for i in data.sampler}
            assert len(seeds) == len(data.dataset)
            for index, seed in seeds.items():
                seen.setdefault(index % 3, []).append(seed)
        for index, seeds in seen.items():
            assert len(set(seeds)) == len(seeds) == len(data.dataset) / 3 * 4
            # The seeds act.
            shown = [data.dataset[SeededIndex(index, s)] for s in seeds]
            flat = {item['inputs'].numpy().tobytes() for item in shown}
            assert len(flat) > len(seeds) / 2


def test_another_seed_of_the_run():
    data = DATASETS.build(SCENES)
    seeds = [
        [sample_seed(i) for i in SeededSampler(data, shuffle=False, seed=s)]
        for s in (0, 1)
    ]
    assert not set(seeds[0]) & set(seeds[1])


def test_without_an_end():
    """Runs by iterations: a pass over the data is an epoch, and what was
    trained before a resume is skipped.
    """
    data = DATASETS.build(SCENES)

    def first(number, skip=0):
        sampler = SeededInfiniteSampler(data, seed=5)
        if skip:
            sampler.skip(skip)
        return [
            (int(i), sample_seed(i))
            for i, _ in zip(sampler, range(number), strict=False)
        ]

    whole = first(9)
    assert [{i for i, _ in whole[at : at + 3]} for at in (0, 3, 6)] == [
        {0, 1, 2}
    ] * 3
    assert len({seed for _, seed in whole}) == 9
    assert first(5, skip=4) == whole[4:]
    # As SeededSampler gives an image in an epoch.
    epochs = SeededSampler(data, seed=5)
    epochs.set_epoch(2)
    assert {(int(i), sample_seed(i)) for i in epochs} == set(whole[6:])


@pytest.mark.parametrize(
    ('sampler', 'better'),
    [
        ('DefaultSampler', 'SeededSampler'),
        ('InfiniteSampler', 'SeededInfiniteSampler'),
    ],
)
def test_a_sampler_without_seeds_is_refused(sampler, better):
    with pytest.raises(
        ValueError, match=f"sampler.type='{sampler}' gives .*'{better}'"
    ):
        check_seeds(loader(DATA['RepeatDataset'], sampler))


def test_a_wrapper_that_loses_seeds_is_refused(monkeypatch):
    read = []
    monkeypatch.setattr(
        SyntheticScenesDataset, 'prepare_data', lambda self, i: read.append(i)
    )
    scenes = DATASETS.build(dict(SCENES, type='ScenesWithClasses'))
    for wrapper, name in (
        (RepeatDataset(scenes, 2), 'RepeatDataset'),
        (ClassBalancedDataset(scenes, 0.9), 'ClassBalancedDataset'),
        (Subset(scenes, [2, 0]), 'Subset'),
        # Its first part keeps them.
        (
            DATASETS.build(dict(DATA['ConcatDataset'], type='mmengine.Concat'
                                'Dataset')),
            'ConcatDataset',
        ),
    ):  # fmt: skip
        data = loader(SCENES)
        data = SimpleNamespace(
            dataset=wrapper, sampler=data.sampler, batch_sampler=None
        )
        with pytest.raises(ValueError, match=f"{name}'.* loses the sampler's"):
            check_seeds(data)
    # Nothing is loaded to find out, and nothing is left behind.
    assert not read
    assert 'prepare_data' not in vars(scenes)


def test_a_run_that_would_never_end_an_epoch_is_refused():
    runner = SimpleNamespace(
        train_loop=None,
        train_dataloader=loader(SCENES, 'SeededInfiniteSampler'),
    )
    with pytest.raises(ValueError, match='never ends an epoch: take SeededS'):
        IterSeedHook().before_train(runner)


def test_the_label_mask_of_a_wrapped_data_set():
    cfg = dict(SCENES, partial_labels='one-label', lazy_init=True)
    data = DATASETS.build(dict(DATA['RepeatDataset'], dataset=cfg))
    assert data.metainfo['label_mask']['protocol'] == 'one-label'


def test_each_step_and_each_rank_draw_their_own_numbers():
    def drawn(seed=0, rank=0, step=0):
        runner = SimpleNamespace(seed=seed, rank=rank, iter=step)
        torch.rand(rank + step)  # Wherever the generator is.
        IterSeedHook().before_train_iter(runner, 0)
        return torch.rand(3).tolist()

    cases = [
        dict(), dict(rank=1), dict(rank=2), dict(step=1), dict(step=2),
        dict(rank=1, step=1), dict(seed=1),
    ]  # fmt: skip
    found = [drawn(**case) for case in cases]
    assert len({tuple(numbers) for numbers in found}) == len(cases)
    assert [drawn(**case) for case in cases] == found
