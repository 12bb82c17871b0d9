import shutil

import numpy as np
import pytest

from mmprotomtl.datasets.check import check_config, format_report
from mmprotomtl.tasks import DepthTask

H, W = 12, 16


@pytest.fixture
def tree(tmp_path):
    """Six training images in the form of MTAN, all right."""
    rng = np.random.default_rng(0)
    for split, number in (('train', 6), ('val', 2)):
        for folder in ('image', 'label', 'depth', 'normal'):
            (tmp_path / split / folder).mkdir(parents=True)
        for i in range(number):
            normal = rng.normal(size=(H, W, 3))
            normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
            arrays = dict(
                image=rng.random((H, W, 3)),
                label=rng.integers(-1, 13, (H, W)).astype(float),
                depth=rng.uniform(1, 4, (H, W, 1)),
                normal=normal,
            )
            arrays['depth'][0] = 0
            for folder, array in arrays.items():
                np.save(tmp_path / split / folder / f'{i}.npy', array)
    return tmp_path


def config(root, **train):
    tasks = dict(semseg=dict(num_classes=13), depth={}, normals={})
    part = dict(type='NYUv2Dataset', data_root=str(root), tasks=tasks)
    return dict(
        train_dataloader=dict(dataset=dict(part, split='train', **train)),
        val_dataloader=dict(dataset=dict(part, split='val')),
        test_dataloader=dict(dataset=dict(part, split='val')),
    )


def check(root, **train):
    return check_config(config(root, **train), workers=1)


def test_a_sound_tree(tree):
    mask = dict(protocol='one-label', seed=3)
    train, val = check(tree, partial_labels=mask)
    assert (train['loader'], val['loader']) == ('train', 'val, test')
    assert (train['images'], train['published']) == (6, 795)
    assert (val['images'], val['published']) == (2, 654)
    assert train['errors'] == val['errors'] == []
    # The counts are not the published ones; nothing else is doubtful.
    assert [w['problem'] for w in train['warnings']] == [
        '6 images, published were 795'
    ]
    assert train['label_mask']['labels'] == dict(semseg=2, depth=2, normals=2)
    assert len(train['label_mask']['sha256']) == 64
    raw = [
        {f: np.load(tree / f'train/{f}/{i}.npy') for f in ('label', 'depth')}
        for i in range(6)
    ]
    # Hidden labels are read too.
    tasks = train['tasks']
    assert {t: e['readable'] for t, e in tasks.items()} == dict(
        semseg=6, depth=6, normals=6
    )
    assert tasks['semseg']['shapes'] == {'12x16': 6}
    labels = np.stack([r['label'] for r in raw])
    summary = tasks['semseg']['summary']
    assert summary['valid'] == pytest.approx((labels >= 0).mean())
    assert summary['share']['sofa'] == pytest.approx(
        (labels == 8).sum() / (labels >= 0).sum(), abs=1e-6
    )
    depth = tasks['depth']['summary']
    assert depth['valid'] == pytest.approx(11 / 12)
    medians = [np.median(r['depth'][r['depth'] > 0]) for r in raw]
    assert depth['median'] == pytest.approx(np.median(medians))
    assert tasks['normals']['summary']['mean_length'] == pytest.approx(1)
    text = format_report(train)
    assert train['label_mask']['sha256'] in text
    assert '0 errors' in text


def test_everything_wrong_is_listed(tree):
    """One pass names each damaged file and what is wrong with it."""
    train = tree / 'train'
    (train / 'image/0.npy').write_bytes(b'')
    whole = (train / 'label/1.npy').read_bytes()
    (train / 'label/1.npy').write_bytes(whole[:-50])
    np.save(train / 'label/2.npy', np.full((H, W), 13))
    (train / 'depth/3.npy').unlink()
    np.save(train / 'normal/4.npy', np.ones((W, H, 3)))
    np.save(train / 'depth/5.npy', np.ones((H, W, 3)))
    mask = dict(mask_file=str(tree / 'none.pth'))
    report = check(tree, partial_labels=mask)[0]
    found = {e['file']: e['problem'] for e in report['errors']}
    expected = {
        tree / 'none.pth': 'no such label mask',
        train / 'image/0.npy': '0 bytes',
        train / 'label/1.npy': 'cannot be read',
        train / 'label/2.npy': 'label values [13]',
        train / 'depth/3.npy': 'no such file',
        train / 'normal/4.npy': 'not another aspect ratio',
        train / 'depth/5.npy': 'shape (12, 16, 3)',
    }
    assert set(found) == {str(path) for path in expected}
    for path, problem in expected.items():
        assert problem in found[str(path)]
    assert report['tasks']['depth']['readable'] == 4


def test_what_many_files_have_in_common_is_said_once(tree):
    """Half a folder is missing: the text still shows what else is wrong."""
    for i in range(4):
        (tree / f'train/depth/{i}.npy').unlink()
    (tree / 'train/label/5.npy').write_bytes(b'')
    np.save(tree / 'train/depth/5.npy', np.zeros((H, H)))
    report = check(tree)[0]
    assert len(report['errors']) == 6
    lines = format_report(report).splitlines()
    assert '6 errors' in lines
    together = f'{tree}/train/depth: 4 files (0.npy, 1.npy, 2.npy, ...): no'
    assert [line for line in lines if line.strip().startswith(together)]
    assert [line for line in lines if f'{tree}/train/label/5.npy: can' in line]
    assert [line for line in lines if f'{tree}/train/depth/5.npy: 12' in line]


def test_a_mask_that_leaves_nothing_of_a_task(tree):
    mask = dict(protocol='budget', budget=dict(semseg=2, depth=0, normals=1))
    report = check(tree, partial_labels=mask)[0]
    doubts = [w for w in report['warnings'] if w['file'] == 'the label mask']
    assert [w['problem'] for w in doubts] == [
        'hides all labels of depth: a run would stop'
    ]
    # An unusable mask leaves nobody knows how many.
    report = check(tree, partial_labels=dict(mask_file='none.pth'))[0]
    row = next(r for r in format_report(report).splitlines() if 'depth' in r)
    assert row.split('|')[2:4] == [' 6      ', ' ?    ']


def test_all_bad_lines_of_a_list_of_ids(shared_data, tmp_path):
    """Each is named, and the images of the good lines are read."""
    root = tmp_path / 'nyud'
    shutil.copytree(
        shared_data / 'layouts/NYUD_MT', root, copy_function=shutil.copyfile
    )
    (root / 'gt_sets').chmod(0o755)
    (root / 'gt_sets/train.txt').unlink()
    (root / 'gt_sets/train.txt').write_text('0003\n\n0004 \n0003\n0005\n')
    part = dict(type='NYUDv2Dataset', data_root=str(root))
    (report,) = check_config(dict(train_dataloader=dict(dataset=part)))
    assert {e['file'] for e in report['errors']} == {
        f'{root}/gt_sets/train.txt'
    }
    problems = ' '.join(e['problem'] for e in report['errors'])
    assert len(report['errors']) == 3
    for problem in ('line 2 is blank', "line 3 is '0004 '", 'lines 1 and 4'):
        assert problem in problems
    assert report['images'] == report['tasks']['edge']['readable'] == 2


def test_gaps_are_all_named_and_the_rest_is_read(tree):
    for i in (1, 3):
        (tree / f'train/image/{i}.npy').unlink()
    report = check(tree)[0]
    assert [e['file'].rsplit('/', 1)[1] for e in report['errors']] == [
        '1.npy', '3.npy',
    ]  # fmt: skip
    assert report['tasks']['depth']['readable'] == 4


def test_a_missing_folder_does_not_hide_the_other_part(tree):
    shutil.rmtree(tree / 'train')
    train, val = check(tree)
    assert 'no such folder' in train['errors'][0]['problem']
    assert val['errors'] == []
    assert val['tasks']['semseg']['readable'] == 2


@pytest.mark.parametrize(
    ('folder', 'change', 'doubt'),
    [
        ('depth', lambda x: x * 1000, 'another unit'),
        ('depth', lambda x: x * 0, 'no pixel'),
        ('normal', lambda x: x * 127.5, 'unit vectors'),
        ('label', lambda x: x * 0, 'one class'),
        ('label', lambda x: np.where(x == 4, 5, x), 'never seen: floor'),
    ],
)
def test_implausible_values_are_warnings(tree, folder, change, doubt):
    for path in (tree / 'train' / folder).iterdir():
        np.save(path, change(np.load(path)))
    train, val = check(tree)
    assert train['errors'] == []
    assert doubt in train['warnings'][1]['problem']
    assert not any(doubt in w['problem'] for w in val['warnings'])


def test_wrong_settings_are_errors(tree):
    report = check(tree, indices=[0, 2])[0]
    assert report['tasks']['depth']['readable'] == 2
    cfg = config(tree)
    cfg['train_dataloader']['dataset']['tasks'] = dict(edge={})
    assert 'edge' in check_config(cfg, ['train'])[0]['errors'][0]['problem']
    with pytest.raises(ValueError, match='no data loader'):
        check_config({}, ['train'])


def test_processes_change_nothing():
    scenes = dict(type='SyntheticScenesDataset', size=(8, 8), num_scenes=70)
    cfg = dict(train_dataloader=dict(dataset=scenes))
    assert check_config(cfg, workers=2) == check_config(cfg, workers=1)


def test_no_reader_stops_the_check(tree, monkeypatch):
    """What a task of the user's raises is listed with its file as well."""

    def broken(self, label, raw):
        raise KeyError('mine')

    monkeypatch.setattr(DepthTask, 'describe', broken)
    report = check(tree)[0]
    assert [e['file'] for e in report['errors']] == [
        str(tree / f'train/depth/{i}.npy') for i in range(6)
    ]
    assert report['errors'][0]['problem'] == "KeyError: 'mine'"
    assert report['tasks']['normals']['readable'] == 6


def test_other_data_sets_are_refused():
    cfg = dict(train_dataloader=dict(dataset=dict(type='mmseg.ADE20KDataset')))
    problem = check_config(cfg)[0]['errors'][0]['problem']
    assert problem == 'mmseg.ADE20KDataset is not a MultiTaskDataset'
    cfg['train_dataloader']['dataset']['type'] = 'NYUv2Datset'
    problem = check_config(cfg)[0]['errors'][0]['problem']
    assert 'NYUv2Datset is not in the' in problem


def test_wrapped_data_sets_and_all_tasks_of_scenes():
    scenes = dict(type='SyntheticScenesDataset', size=(48, 64))
    parts = [dict(scenes, num_scenes=n) for n in (3, 2)]
    cfg = dict(
        train_dataloader=dict(
            dataset=dict(
                type='RepeatDataset',
                times=2,
                dataset=dict(type='ConcatDataset', datasets=parts),
            )
        )
    )
    reports = check_config(cfg, workers=1)
    assert [r['read'] for r in reports] == [3, 2]
    for report in reports:
        assert report['errors'] == []
        assert len(report['tasks']) == 6
        assert 0.9 < report['tasks']['normals']['summary']['mean_length'] < 1.1


def test_the_real_nyuv2(nyuv2):
    """Nothing to find: the plausible ranges are those of real data."""
    mask = dict(mask_file=str(nyuv2 / 'onelabel.pth'))
    train, val = check(nyuv2, partial_labels=mask)
    assert (train['images'], val['images']) == (795, 654)
    assert train['warnings'] == train['errors'] == []
    assert val['warnings'] == val['errors'] == []
    used = dict(semseg=265, depth=265, normals=265)
    assert train['label_mask']['labels'] == used
    assert train['label_mask']['sha256'].startswith('17c5f1fb')
    assert train['tasks']['semseg']['summary']['classes_seen'] == 13
    assert val['tasks']['normals']['readable'] == 654


def test_the_published_form(shared_data):
    """Frames as they are on disk, in the types of the published files."""
    train, val = check(shared_data / 'layouts/mtpsl_nyuv2')
    assert train['errors'] == val['errors'] == []
    assert train['shapes'] == {'120x160': 3}
    for warning in train['warnings']:
        assert warning['problem'].startswith(('3 images', 'classes never'))
