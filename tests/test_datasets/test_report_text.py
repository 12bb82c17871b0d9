"""The text that ``check_dataset.py`` prints of a report."""

import numpy as np
import pytest

from mmprotomtl.datasets import (
    CityscapesMTDataset,
    NYUDv2Dataset,
    NYUv2Dataset,
    PASCALContextMTDataset,
    check_config,
    check_dataset,
    format_report,
)


def report(**changes):
    base = dict(
        loader='train', part='', dataset='X', split='train', images=7,
        published=None, shapes={}, tasks={}, masked=False, label_mask=None,
        derived={},
        errors=[], warnings=[],
    )  # fmt: skip
    return {**base, **changes}


def lines(*args, **changes):
    return format_report(report(**changes), *args).split('\n')


def findings(*files, problem='is odd', **more):
    return [dict(file=file, problem=problem, **more) for file in files]


def test_the_first_line():
    assert lines()[0] == 'train: X, split train: 7 images, sizes -'
    (first, *_) = lines(
        part='datasets.1', published=9, shapes={'2x3': 5, '4x4': 2}
    )
    assert first == (
        'train, datasets.1: X, split train: 7 images (published: 9), sizes '
        '2x3 (5), 4x4 (2)'
    )


@pytest.mark.parametrize(('number', 'more'), [(3, ''), (5, ' and 2 more')])
def test_three_sizes_are_named(number, more):
    shapes = {f'{n}x1': 9 - n for n in range(number)}
    (first, *_) = lines(shapes=shapes)
    assert first.endswith('sizes 0x1 (9), 1x1 (8), 2x1 (7)' + more)


@pytest.mark.parametrize(
    ('number', 'expected'),
    [
        (1, ['  /d/0.png: is odd']),
        (3, [f'  /d/{n}.png: is odd' for n in range(3)]),
        (4, ['  /d: 4 files (0.png, 1.png, 2.png, ...): is odd']),
    ],
)
def test_files_with_one_problem(number, expected):
    errors = findings(*(f'/d/{n}.png' for n in range(number)))
    counted = f'{number} error{"s" * (number > 1)}'
    assert lines(errors=errors)[1:] == [counted, *expected, '0 warnings']


def test_other_folders_problems_and_parts_are_lines_of_their_own():
    errors = [
        *findings('/d/a', '/e/a'),
        *findings('/d/b', '/d/c', problem='is bad'),
        *findings('/d/d', part='datasets.1'),
    ]
    assert lines(errors=errors)[1:] == [
        '5 errors',
        '  /d/a: is odd',
        '  /e/a: is odd',
        '  /d/b: is bad',
        '  /d/c: is bad',
        '  datasets.1: /d/d: is odd',
        '0 warnings',
    ]


@pytest.mark.parametrize('number', [2, 3, 4])
def test_no_more_lines_than_asked_for(number):
    warnings = findings(*(f'/{n}/x' for n in range(number)))
    expected = [f'  /{n}/x: is odd' for n in range(min(number, 3))]
    if number > 3:
        expected.append('  and more (--json has all)')
    counted = f'{number} warnings'
    assert lines(3, warnings=warnings)[1:] == ['0 errors', counted, *expected]


def test_the_table_of_tasks():
    tasks = dict(
        depth=dict(
            labelled=6, readable=5, shapes={'2x3': 5}, empty=1,
            summary=dict(valid=0.123456, unit='metres', share=dict(a=1)),
        ),
        sal=dict(labelled=3, readable=0, shapes={}),
    )  # fmt: skip

    def rows(**changes):
        found = [
            [cell.strip() for cell in line.strip('|').split('|')]
            for line in lines(tasks=tasks, **changes)
            if line.startswith('| ')
        ]
        assert found[0] == [
            'task', 'labels', 'used', 'readable', 'empty', 'sizes', 'values',
        ]  # fmt: skip
        return found[1:]

    first, second = rows()
    assert first == [
        'depth', '6', '6', '5', '1', '2x3 (5)', 'valid 0.1235, unit metres',
    ]  # fmt: skip
    assert second == ['sal', '3', '3', '0', '-', '-', '']
    # With a label mask, how many it leaves; nobody knows of a broken one.
    mask = dict(labels=dict(depth=2), protocol='p', seed=4, sha256='ab')
    assert [row[2] for row in rows(masked=True, label_mask=mask)] == ['2', '0']
    assert [row[2] for row in rows(masked=True)] == ['?', '?']
    text = format_report(report(masked=True, label_mask=mask))
    assert 'label mask: p, seed 4, sha256 ab' in text.split('\n')


def test_what_cannot_be_built_has_no_images():
    found = check_dataset(dict(type='NYUv2Dataset', split='tset'))
    assert (found['images'], found['split']) == (0, 'tset')
    assert found['tasks'] == found['shapes'] == {}
    assert found['published'] is found['label_mask'] is None
    assert len(found['errors']) == 1
    found = check_dataset(dict(type='NYUv2Dataset', data_rot='x'))
    assert 'data_rot' in found['errors'][0]['problem']


def test_how_many_images_were_published():
    assert dict(train=795, val=654) == NYUv2Dataset.PUBLISHED
    assert dict(train=795, val=654) == NYUDv2Dataset.PUBLISHED
    assert dict(train=2975, val=500) == CityscapesMTDataset.PUBLISHED
    assert dict(train=4998, val=5105) == PASCALContextMTDataset.PUBLISHED


def test_gaps_in_numbered_files(tmp_path):
    """Each missing number below the highest one is named, no other is."""
    folder = tmp_path / 'train' / 'image'
    folder.mkdir(parents=True)
    for i in (1, 2, 5):
        np.save(folder / f'{i}.npy', np.zeros((2, 2, 3)))
    for name in ('7.txt', 'x9.npy', '8.npy.part'):
        (folder / name).write_text('')
    part = dict(type='NYUv2Dataset', data_root=str(tmp_path))
    (found,) = check_config(dict(train_dataloader=dict(dataset=part)))
    missing = [
        error['file']
        for error in found['errors']
        if 'missing, though there are numbers up to 5' in error['problem']
    ]
    assert missing == [str(folder / f'{gap}.npy') for gap in (0, 3, 4)]
    assert found['images'] == 3


def test_a_wrapper_is_looked_through_and_its_part_checked_once():
    scenes = dict(type='SyntheticScenesDataset', size=(8, 8), num_scenes=2)
    wrapped = dict(type='RepeatDataset', times=3, dataset=scenes)
    cfg = dict(
        train_dataloader=dict(dataset=wrapped),
        val_dataloader=dict(dataset=dict(scenes)),
        test_dataloader=dict(dataset=dict(scenes, split='test')),
    )
    first, second = check_config(cfg, workers=1)
    assert (first['loader'], first['part']) == ('train, val', '')
    assert second['loader'] == 'test'
    assert first['errors'] == second['errors'] == []
    assert [r['split'] for r in (first, second)] == ['train', 'test']
    (only,) = check_config(cfg, ['test'], workers=1)
    assert only['loader'] == 'test'
