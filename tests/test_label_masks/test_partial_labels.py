import hashlib
from pathlib import Path

import pytest
from mmengine.config import ConfigDict

from mmprotomtl.label_masks import (
    LabelMask,
    PartialLabels,
    draw_label_mask,
    write_label_mask,
)
from mmprotomtl.utils.errors import DataFileError

SAMPLES = [str(i) for i in range(30)]
TASKS = ('a', 'b', 'c')


def anything(sample, task):
    return True


def mask(given, tasks=TASKS, samples=SAMPLES):
    setting = PartialLabels.parse(given)
    return setting.label_mask(samples, tasks, TASKS, anything)


@pytest.mark.parametrize(
    ('given', 'protocol', 'seed', 'options'),
    [
        ('one-label', 'one-label', 0, {}),
        ('full', 'full', 0, {}),
        (dict(protocol='random-label', seed=3), 'random-label', 3, {}),
        (
            ConfigDict(protocol='ratio', ratio=0.3, seed=1),
            'ratio', 1, dict(ratio=0.3),
        ),
        (
            dict(type='PartialAnnotation', protocol='budget', budget=4),
            'budget', 0, dict(budget=4),
        ),
    ],
)  # fmt: skip
def test_protocols(given, protocol, seed, options):
    expected = draw_label_mask(protocol, SAMPLES, TASKS, seed, **options)
    assert mask(given).sha256 == expected.sha256
    assert mask(given).summary() == expected.summary()


def test_a_seed_draws_other_labels():
    """A string is the protocol with seed 0."""
    hashes = {
        mask(dict(protocol='one-label', seed=seed)).sha256 for seed in range(4)
    }
    assert len(hashes) == 4
    assert mask('one-label').sha256 in hashes


@pytest.mark.parametrize('form', [str, Path, lambda p: dict(mask_file=p)])
def test_files(tmp_path, form):
    path = tmp_path / 'one-label.json'
    drawn = draw_label_mask('one-label', SAMPLES, TASKS, 5)
    write_label_mask(path, drawn)
    read = mask(form(path))
    assert read.sha256 == drawn.sha256 and read.source == str(path)


def test_tasks_beyond_those_that_are_trained():
    whole = mask('one-label')
    single = mask(dict(protocol='one-label', tasks=TASKS), tasks=('b',))
    assert single.labelled == whole.labelled
    with pytest.raises(ValueError, match=r'tasks names bb, .*it has a, b, c'):
        mask(dict(protocol='one-label', tasks=['a', 'bb']))


@pytest.mark.parametrize('wrong', ['one-labl', 'masks/none.pth'])
def test_a_wrong_name_is_refused(wrong):
    with pytest.raises(DataFileError) as caught:
        mask(wrong)
    assert caught.value.path == wrong
    assert 'no such label mask file' in caught.value.problem
    assert 'one-label, random-label, ratio, budget, full' in str(caught.value)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (3, r'partial_labels=3 is not allowed.*one-label, random-label'),
        (True, 'partial_labels=True is not allowed'),
        (['one-label'], 'is not allowed: give one of the protocols'),
        ({}, 'give one of the two'),
        (dict(mask_fil='x'), r"beside {'mask_fil': 'x'}; give one of the"),
        (dict(protocol='one-labl'), r"'one-labl' is not allowed: choose 'one"),
        (dict(mask_file='x', ratio=1), r"'ratio': 1} is not .* beside mask_f"),
        (dict(mask_file='x', seed=0), r"'seed': 0} is not allowed beside"),
        (dict(protocol='full', ratio=0.5), r"'full' has the options \[\]"),
        ('ratio', r"write dict\(protocol='ratio', ratio=\.\.\., seed=0\)"),
        (
            dict(type='LoadMultiTaskImage', protocol='full'),
            r"partial_labels\.type='LoadMultiTaskImage' is not allowed",
        ),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        PartialLabels.parse(given)


def test_the_hash_is_of_what_is_labelled_in_any_order():
    """As documented: of the JSON of id -> tasks, both sorted, no blanks."""
    rows = {'b': ['y', 'x'], 'a': [], 'c': ['y']}
    turned = {name: row[::-1] for name, row in reversed(rows.items())}
    text = b'{"a":[],"b":["x","y"],"c":["y"]}'
    for given in (rows, turned):
        mask = LabelMask(given, ['y', 'x'], 'file')
        assert mask.sha256 == hashlib.sha256(text).hexdigest()
    assert mask.counts() == dict(y=2, x=1)
    assert mask.labels_per_image() == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize(
    ('given', 'text'),
    [
        ('one-label', "PartialLabels(protocol='one-label', seed=0)"),
        (
            dict(protocol='ratio', ratio=0.5, seed=3, tasks=['a']),
            "PartialLabels(protocol='ratio', seed=3, tasks=['a'], ratio=0.5)",
        ),
        ('a/b.json', "PartialLabels(mask_file='a/b.json')"),
    ],
)
def test_how_a_setting_is_shown(given, text):
    assert repr(PartialLabels.parse(given)) == text
