import numpy as np
import pytest
import torch

from mmprotomtl.datasets import NYUv2Dataset, SyntheticScenesDataset
from mmprotomtl.datasets.partial_labels import (
    draw_label_mask,
    read_label_mask,
)
from mmprotomtl.datasets.transforms import PartialAnnotation
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
    rows = dataset.pipeline.transforms[0].mask.labelled.values()
    numbers = [len(row) for row in rows]
    assert {k: numbers.count(k) for k in set(numbers)} == labels
    table = torch.load(nyuv2 / f'{name}.pth')['labels_weights']
    step = dataset.pipeline.transforms[0]
    for i in (0, 5, 794):
        kept = step(dataset.get_data_info(i))['labels']
        expected = np.flatnonzero(table[i].numpy())
        tasks = list(NYUv2Dataset.METAINFO['tasks'])
        assert list(kept) == [tasks[k] for k in expected]


def test_a_mask_of_another_data_set_is_refused(nyuv2, tmp_path):
    with pytest.raises(DataFileError, match=r'\(795, 3\).*12 images'):
        read_label_mask(
            str(nyuv2 / 'onelabel.pth'), SAMPLES[:12], ('s', 'd', 'n')
        )
    with pytest.raises(DataFileError, match='no such label mask. Get'):
        read_label_mask(str(tmp_path / 'x.pth'), SAMPLES, TASKS)
    (tmp_path / 'y.pth').write_bytes(b'nothing')
    with pytest.raises(DataFileError, match=r'y\.pth: not a label mask'):
        read_label_mask(str(tmp_path / 'y.pth'), SAMPLES, TASKS)


class Harm:
    def __reduce__(self):
        return open, ('harm.txt', 'w')


def test_a_hostile_mask_is_not_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(labels_weights=Harm()), 'bad.pth')
    with pytest.raises(DataFileError, match='not a label mask'):
        read_label_mask('bad.pth', SAMPLES, TASKS)
    assert not (tmp_path / 'harm.txt').exists()


def test_needs_a_file_or_a_protocol():
    with pytest.raises(ValueError, match='give one of the two'):
        PartialAnnotation()
    with pytest.raises(ValueError, match='give one of the two'):
        PartialAnnotation(mask_file='a', protocol='full')
    with pytest.raises(RuntimeError, match='binds it'):
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
    mask = all_tasks.pipeline.transforms[0].mask
    expected = [s for s, row in mask.labelled.items() if 'depth' in row]
    kept = [single.get_data_info(i)['sample_id'] for i in range(len(single))]
    assert kept == expected
    assert len(kept) == 10


def test_human_parts_go_to_images_with_people():
    dataset = SyntheticScenesDataset(
        num_scenes=60, partial_labels=dict(protocol='one-label')
    )
    for sample, row in dataset.pipeline.transforms[0].mask.labelled.items():
        if row == ('human_parts',):
            assert dataset.applicable(sample, 'human_parts')
