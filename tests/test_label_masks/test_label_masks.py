import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

try:
    from numpy._core.multiarray import _reconstruct
except ImportError:  # numpy < 2
    from numpy.core.multiarray import _reconstruct

from mmprotomtl.datasets import NYUv2Dataset, SyntheticScenesDataset
from mmprotomtl.datasets.transforms import PartialAnnotation
from mmprotomtl.label_masks import (
    draw_label_mask,
    read_label_mask,
    read_mask_file,
    write_label_mask,
)
from mmprotomtl.label_masks.files import PASCAL_COLUMNS
from mmprotomtl.utils.errors import DataFileError

SAMPLES = [str(i) for i in range(100)]
TASKS = ('a', 'b', 'c')


def test_one_label_is_a_near_equal_partition():
    mask = draw_label_mask('one-label', SAMPLES, TASKS, seed=3)
    assert sorted(mask.counts().values()) == [33, 33, 34]
    assert all(len(row) == 1 for row in mask.labelled.values())


def test_one_label_gives_only_what_applies():
    def applicable(sample, task):
        return task != 'b' or int(sample) < 40

    mask = draw_label_mask('one-label', SAMPLES, TASKS, 0, applicable)
    of_b = [s for s, row in mask.labelled.items() if row == ('b',)]
    assert len(of_b) == 33
    assert all(int(s) < 40 for s in of_b)


def test_random_label_never_gives_all():
    mask = draw_label_mask('random-label', SAMPLES * 10, TASKS, seed=0)
    numbers = [len(row) for row in mask.labelled.values()]
    assert set(numbers) == {1, 2}
    wide = draw_label_mask(
        'random-label', [str(i) for i in range(3000)], TASKS, seed=0
    )
    ones = sum(len(row) == 1 for row in wide.labelled.values())
    assert abs(ones - 1500) < 100


def test_full_gives_all():
    mask = draw_label_mask('full', SAMPLES, TASKS)
    assert mask.counts() == dict(a=100, b=100, c=100)
    assert mask.seed is None


def test_hash_follows_from_what_is_labelled():
    first = draw_label_mask('one-label', SAMPLES, TASKS, seed=1)
    again = draw_label_mask('one-label', SAMPLES, TASKS, seed=1)
    other = draw_label_mask('one-label', SAMPLES, TASKS, seed=2)
    assert first.sha256 == again.sha256 != other.sha256


def test_unknown_protocol_is_named():
    with pytest.raises(ValueError, match=r"protocol='two'.*'one-label'"):
        draw_label_mask('two', SAMPLES, TASKS)


@pytest.mark.parametrize(
    ('name', 'counts', 'labels'),
    [
        ('onelabel', (265, 265, 265), {1: 795}),
        ('randomlabels', (392, 408, 385), {1: 405, 2: 390}),
    ],
)
def test_published_masks(nyuv2, name, counts, labels):
    dataset = NYUv2Dataset(
        data_root=str(nyuv2),
        partial_labels=dict(mask_file=str(nyuv2 / f'{name}.pth')),
    )
    info = dataset.metainfo['label_mask']
    assert tuple(info['labels'].values()) == counts
    rows = dataset.label_mask.labelled.values()
    numbers = [len(row) for row in rows]
    assert {k: numbers.count(k) for k in set(numbers)} == labels
    table = torch.load(nyuv2 / f'{name}.pth')['labels_weights']
    for i in (0, 5, 794):
        kept = dataset.get_data_info(i)['labels']
        expected = np.flatnonzero(table[i].numpy())
        tasks = list(NYUv2Dataset.METAINFO['tasks'])
        assert list(kept) == [tasks[k] for k in expected]


def test_a_mask_of_another_data_set_is_refused(nyuv2, tmp_path):
    with pytest.raises(DataFileError, match=r'\(795, 3\).*12 images'):
        read_label_mask(
            str(nyuv2 / 'onelabel.pth'), SAMPLES[:12], ('s', 'd', 'n')
        )
    with pytest.raises(DataFileError, match='no such label mask file. Get'):
        read_label_mask(str(tmp_path / 'x.pth'), SAMPLES, TASKS)
    (tmp_path / 'y.pth').write_bytes(b'nothing')
    with pytest.raises(DataFileError, match=r'y\.pth: not a label mask'):
        read_label_mask(str(tmp_path / 'y.pth'), SAMPLES, TASKS)


class Harm:
    def __reduce__(self):
        return open, ('harm.txt', 'w')


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('where', ['labels_weights', '2008_000002'])
def test_a_hostile_mask_is_not_executed(zipped, where, in_tmp):
    torch.save(
        {where: Harm()}, 'bad.pth', _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(DataFileError, match=r'bad\.pth: not a label mask'):
        read_label_mask('bad.pth', SAMPLES, TASKS)
    assert not (in_tmp / 'harm.txt').exists()
    # It is the reader that is careful, not the file that is harmless.
    torch.load('bad.pth', weights_only=False)
    assert (in_tmp / 'harm.txt').exists()


def test_a_hostile_numpy_mask_is_not_executed(in_tmp):
    np.save('bad.npy', np.array(dict(a=Harm()), dtype=object))
    with pytest.raises(DataFileError, match=r'bad\.npy: not a label mask'):
        read_label_mask('bad.npy', SAMPLES, TASKS)
    assert not (in_tmp / 'harm.txt').exists()
    np.load('bad.npy', allow_pickle=True)
    assert (in_tmp / 'harm.txt').exists()


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Forged:
    """An array whose type says "no objects", and that holds one."""

    def __reduce__(self):
        return _reconstruct, (np.ndarray, (0,), b'b'), (
            1, (), ForgedType(), False, b'A' * 8,
        )  # fmt: skip


class ForgedType:
    def __reduce__(self):
        return np.dtype, ('V8', False, True), (
            3, '|', None, ('a',), {'a': (np.dtype('O'), 0)}, 8, 1, 0,
        )  # fmt: skip


@pytest.mark.parametrize('ending', ['npy', 'pth'])
def test_a_forged_type_does_not_crash_the_process(ending, in_tmp):
    """numpy itself would take the file's bytes for an address."""
    if ending == 'npy':
        with open('bad.npy', 'wb') as file:
            header = dict(descr='|O', fortran_order=False, shape=())
            np.lib.format.write_array_header_1_0(file, header)
            pickle.dump(Forged(), file, protocol=2)
    else:
        torch.save(dict(a=Forged()), 'bad.pth')
    code = (
        'from mmprotomtl.label_masks import read_mask_file\n'
        'from mmprotomtl.utils.errors import DataFileError\n'
        f'try: read_mask_file("bad.{ending}")\n'
        'except DataFileError as error: print("refused", error.path)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f'refused bad.{ending}'


def test_what_a_manifest_says_is_guarded(in_tmp):
    write_label_mask('m.json', draw_label_mask('one-label', SAMPLES, TASKS))
    manifest = json.loads((in_tmp / 'm.json').read_text())
    for key, value in dict(
        protocol='full', seed=7, labels=dict(a=1), images=3,
        tasks=['a', 'b', 'c', 'd'],
    ).items():  # fmt: skip
        (in_tmp / 'x.json').write_text(json.dumps({**manifest, key: value}))
        with pytest.raises(DataFileError, match='not its labels, but the'):
            read_mask_file('x.json')


@pytest.mark.parametrize('zipped', [True, False])
def test_numpy_numbers_in_both_forms_of_torch(zipped, in_tmp):
    rows = {'x': [np.int64(1)] * 5, 'y': [np.int64(0)] * 4 + [np.int64(1)]}
    torch.save(rows, 'a.pth', _use_new_zipfile_serialization=zipped)
    mask = read_mask_file('a.pth')
    assert mask.labelled['y'] == ('edge',)
    assert len(mask.labelled['x']) == 5


def test_a_task_without_images(in_tmp):
    lists = dict(a=[], b=['1'])
    np.save('lists.npy', np.array(lists, dtype=object))
    assert read_mask_file('lists.npy').counts() == dict(a=0, b=1)


@pytest.mark.parametrize(
    ('name', 'counts', 'numbers'),
    [
        ('new_onelabel', (1000, 999, 1000, 1000, 999), {1: 4998}),
        (
            'new_randomlabels',
            (2450, 847, 2445, 2480, 2557),
            {1: 1538, 2: 1529, 3: 1541, 4: 390},
        ),
    ],
)
def test_published_pascal_masks(shared_data, name, counts, numbers):
    path = shared_data / f'partial_labels/pascal/{name}.pth'
    mask = read_mask_file(str(path))
    assert mask.tasks == PASCAL_COLUMNS
    assert tuple(mask.counts().values()) == counts
    assert mask.labels_per_image() == numbers
    assert len(mask.labelled) == 4998
    # Bound to a data set that lists its tasks in another order.
    again = read_label_mask(
        str(path), list(mask.labelled), sorted(PASCAL_COLUMNS)
    )
    assert again.sha256 == mask.sha256
    with pytest.raises(DataFileError, match='1 images are in the mask, but'):
        read_label_mask(
            str(path), list(mask.labelled)[1:], sorted(PASCAL_COLUMNS)
        )
    with pytest.raises(DataFileError, match=r'data set, but not.*such as new'):
        read_label_mask(
            str(path), [*mask.labelled, 'new'], sorted(PASCAL_COLUMNS)
        )


def test_lists_of_ids(in_tmp):
    lists = dict(a=['1', '2'], b=np.array(['2', '3']))
    np.save('lists.npy', np.array(lists, dtype=object))
    mask = read_label_mask('lists.npy', ['0', '1', '2', '3'], TASKS)
    assert mask.labelled == {
        '0': (), '1': ('a',), '2': ('a', 'b'), '3': ('b',),
    }  # fmt: skip
    with pytest.raises(
        DataFileError, match='has the tasks b, this data set has'
    ):
        read_label_mask('lists.npy', ['0', '1', '2', '3'], ('a', 'c'))
    with pytest.raises(DataFileError, match='1 images are in the mask'):
        read_label_mask('lists.npy', ['1', '2'], TASKS)
    np.save('twice.npy', np.array(dict(a=['1', '1']), dtype=object))
    with pytest.raises(DataFileError, match="a lists '1' twice"):
        read_mask_file('twice.npy')


def test_table_of_two_tasks(in_tmp):
    table = torch.zeros(6, 2)
    table[:3, 0] = table[3:, 1] = 1
    torch.save(dict(labels_weights=table), 'onelabel.pth')
    mask = read_mask_file('onelabel.pth')
    assert mask.counts() == dict(semseg=3, depth=3)


def test_manifest(in_tmp):
    mask = draw_label_mask('budget', SAMPLES, TASKS, 4, budget=7)
    write_label_mask('m.json', mask)
    again = read_label_mask('m.json', SAMPLES, TASKS)
    assert again.labelled == mask.labelled
    assert again.summary() == {**mask.summary(), 'source': 'm.json'}
    assert again.summary()['options'] == dict(budget=7)
    text = (in_tmp / 'm.json').read_text()
    manifest = json.loads(text)
    assert manifest['labels'] == dict(a=7, b=7, c=7)
    free = next(s for s, row in mask.labelled.items() if not row)
    manifest['labelled'][free] = ['a']
    (in_tmp / 'm.json').write_text(json.dumps(manifest))
    with pytest.raises(DataFileError, match='changed after it was written'):
        read_label_mask('m.json', SAMPLES, TASKS)
    manifest['labelled'][free] = ['x']
    (in_tmp / 'm.json').write_text(json.dumps(manifest))
    with pytest.raises(DataFileError, match=r"has labels of \['x'\]"):
        read_label_mask('m.json', SAMPLES, TASKS)


def test_ratio():
    samples = [str(i) for i in range(4000)]
    mask = draw_label_mask('ratio', samples, TASKS, 1, ratio=0.3)
    for count in mask.counts().values():
        assert abs(count - 1200) < 5 * (4000 * 0.3 * 0.7) ** 0.5
    # Tasks are independent: about .3^3 of the images have all labels.
    assert abs(mask.labels_per_image()[3] - 108) < 5 * 108**0.5
    # A task's labels stay where they are when another one joins.
    fewer = draw_label_mask('ratio', samples, TASKS[:2], 1, ratio=0.3)
    for sample in samples:
        both = [t for t in mask.labelled[sample] if t != 'c']
        assert both == list(fewer.labelled[sample])


def test_budget_takes_what_applies():
    def applicable(sample, task):
        return task != 'b' or int(sample) < 40

    numbers = dict(a=50, b=40, c=0)
    mask = draw_label_mask(
        'budget', SAMPLES, TASKS, 2, applicable, budget=numbers
    )
    assert mask.counts() == numbers
    for sample, row in mask.labelled.items():
        assert 'b' not in row or int(sample) < 40
    with pytest.raises(ValueError, match=r"'b': 41 is not allowed.*0 .. 40"):
        draw_label_mask(
            'budget',
            SAMPLES,
            TASKS,
            2,
            applicable,
            budget={**numbers, 'b': 41},
        )
    with pytest.raises(ValueError, match='one for each of the tasks a, b, c'):
        draw_label_mask('budget', SAMPLES, TASKS, budget=dict(a=1))


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"options \['ratio'\], but \{\}"):
        draw_label_mask('ratio', SAMPLES, TASKS)
    with pytest.raises(ValueError, match='above 0 and at most 1'):
        draw_label_mask('ratio', SAMPLES, TASKS, ratio=1.5)
    for wrong in ('x', None, True):
        with pytest.raises(ValueError, match='above 0 and at most 1'):
            draw_label_mask('ratio', SAMPLES, TASKS, ratio=wrong)
    for wrong in (1.5, 'x', None, True, dict(a=1.5, b=1, c=1)):
        with pytest.raises(ValueError, match='give one integer'):
            draw_label_mask('budget', SAMPLES, TASKS, budget=wrong)
    with pytest.raises(ValueError, match='seed=-1 is not allowed'):
        draw_label_mask('full', SAMPLES, TASKS, -1)
    with pytest.raises(ValueError, match=r'options \[\]'):
        draw_label_mask('full', SAMPLES, TASKS, ratio=0.5)
    with pytest.raises(ValueError, match='beside mask_file'):
        PartialAnnotation(mask_file='a', ratio=0.5)


def test_fuzz(shared_data, in_tmp):
    """600 damaged files: refused by name, or as good as a whole one."""
    np.save('lists.npy', np.array(dict(a=SAMPLES, b=['1']), dtype=object))
    write_label_mask('m.json', draw_label_mask('full', SAMPLES, TASKS))
    torch.save({'1': [1, 0, 0, 0, 1], '2': [np.int64(1)] * 5}, 'dict.pth')
    published = shared_data / 'partial_labels/nyuv2/onelabel.pth'
    sources = ['lists.npy', 'm.json', 'dict.pth', str(published)]
    rng = np.random.default_rng(0)
    seen = dict(refused=0, read=0)
    for turn in range(600):
        content = bytearray(Path(sources[turn % 4]).read_bytes())
        if turn % 3 == 0:
            content = content[: rng.integers(len(content))]
        else:
            for place in rng.integers(len(content), size=turn % 7 + 1):
                content[place] = rng.integers(256)
        Path('x').write_bytes(content)
        try:
            mask = read_mask_file('x')
        except DataFileError as error:
            assert error.path == 'x'
            seen['refused'] += 1
            continue
        seen['read'] += 1
        assert all(
            set(row) <= set(mask.tasks) for row in mask.labelled.values()
        )
    assert seen['refused'] > 300


def test_needs_a_file_or_a_protocol():
    with pytest.raises(ValueError, match='give one of the two'):
        PartialAnnotation()
    with pytest.raises(ValueError, match='give one of the two'):
        PartialAnnotation(mask_file='a', protocol='full')
    with pytest.raises(RuntimeError, match='hides no labels by itself'):
        PartialAnnotation(protocol='full')(dict(sample_id='0', labels={}))


def test_single_task_sees_what_the_multi_task_run_sees():
    names = ['semseg', 'depth', 'edge']
    cfg = {n: SyntheticScenesDataset.METAINFO['tasks'][n] for n in names}
    labels = dict(protocol='one-label', seed=5)
    all_tasks = SyntheticScenesDataset(
        num_scenes=30, tasks=cfg, partial_labels=labels
    )
    single = SyntheticScenesDataset(
        num_scenes=30,
        tasks=dict(depth=cfg['depth']),
        partial_labels=dict(tasks=names, **labels),
        filter_cfg=dict(drop_unlabelled=True),
    )
    mask = all_tasks.label_mask
    expected = [s for s, row in mask.labelled.items() if 'depth' in row]
    kept = [single.get_data_info(i)['sample_id'] for i in range(len(single))]
    assert kept == expected
    assert len(kept) == 10


def test_human_parts_go_to_images_with_people():
    dataset = SyntheticScenesDataset(
        num_scenes=60, partial_labels=dict(protocol='one-label')
    )
    for sample, row in dataset.label_mask.labelled.items():
        if row == ('human_parts',):
            assert dataset.applicable(sample, 'human_parts')
