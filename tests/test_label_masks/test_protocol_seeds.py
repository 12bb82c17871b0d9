"""A protocol's seed decides what is labelled, and nothing else does."""

import pytest

from mmprotomtl.label_masks import draw_label_mask

SAMPLES = [str(i) for i in range(600)]
TASKS = ('a', 'b', 'c')
DRAWN = {
    'one-label': {},
    'random-label': {},
    'ratio': dict(ratio=0.5),
    'budget': dict(budget=200),
}


def rows(protocol, seed, tasks=TASKS):
    mask = draw_label_mask(protocol, SAMPLES, tasks, seed, **DRAWN[protocol])
    assert mask.seed == seed
    return mask.labelled


@pytest.mark.parametrize('protocol', DRAWN)
def test_each_seed_draws_another_mask(protocol):
    masks = [rows(protocol, seed) for seed in range(5)]
    for place, mask in enumerate(masks):
        assert mask == rows(protocol, place)
        assert mask not in masks[:place]


@pytest.mark.parametrize('protocol', ['ratio', 'budget'])
def test_each_task_is_drawn_by_itself(protocol):
    """Other images for each task and each seed: two sets share about as many
    as chance has it, 600 / 4 where each takes half, 600 / 9 at a third.
    """
    expected = dict(ratio=600 / 4, budget=600 / 9)[protocol]
    sets = [
        {s for s, labelled in rows(protocol, seed).items() if task in labelled}
        for seed in range(4)
        for task in TASKS
    ]
    shared = [
        len(first & second)
        for place, first in enumerate(sets)
        for second in sets[:place]
    ]
    assert len(shared) == 66
    assert abs(sum(shared) / len(shared) - expected) < 10
    assert max(shared) < 1.5 * expected


def test_what_a_seed_draws_stays():
    """Papers name a protocol and a seed."""
    budget = draw_label_mask('budget', SAMPLES[:6], TASKS, 1, budget=2)
    assert list(budget.labelled.values()) == [
        ('c',), (), (), ('a',), ('a', 'b'), ('b', 'c'),
    ]  # fmt: skip
    ratio = draw_label_mask('ratio', SAMPLES[:6], TASKS, 1, ratio=0.5)
    assert list(ratio.labelled.values()) == [
        ('a', 'b'), ('b',), ('a', 'c'), ('a', 'b', 'c'), ('a', 'b'),
        ('a', 'b'),
    ]  # fmt: skip
