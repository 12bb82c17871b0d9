import json
import os
import shutil
import warnings

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import loadmat, savemat

from mmprotomtl.datasets import PASCALContextMTDataset
from mmprotomtl.label_masks import read_mask_file
from mmprotomtl.readers.files import DataFile
from mmprotomtl.readers.pascal import (
    NORMALS_CLASSES,
    part_number,
    read_edges,
    read_normals,
    read_parts,
    read_saliency,
)
from mmprotomtl.readers.people import default_cache_dir, scan_people
from mmprotomtl.utils.errors import DataFileError

PIPELINE = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
]
#: The parts of a person in PASCAL-Part, by the body part they belong to.
NAMES = [
    'head hair lear rear leye reye lebrow rebrow mouth nose',
    'torso neck',
    'luarm ruarm',
    'llarm rlarm lhand rhand',
    'luleg ruleg',
    'llleg rlleg lfoot rfoot',
]


@pytest.fixture
def root(shared_data):
    return shared_data / 'layouts' / 'PASCAL_MT'


@pytest.fixture
def copy(root, tmp_path):
    """The sample tree where it can be changed."""
    copied = tmp_path / 'PASCAL_MT'
    shutil.copytree(root, copied, copy_function=shutil.copyfile)
    for folder in [copied, *(p for p in copied.rglob('*') if p.is_dir())]:
        folder.chmod(0o755)
    return copied


def parts_by_hand(path):
    """PASCAL-Part, read another way: structs as objects, name by name."""
    anno = loadmat(path, squeeze_me=True, struct_as_record=False)['anno']
    label = np.zeros(anno.objects.mask.shape, int)
    for part in anno.objects.parts:
        (number,) = [
            k
            for k, row in enumerate(NAMES, 1)
            if part.part_name in row.split()
        ]
        label[part.mask.astype(bool)] = number
    return label


def test_the_sample_tree(root):
    train = PASCALContextMTDataset(data_root=str(root), pipeline=PIPELINE)
    test = PASCALContextMTDataset(
        data_root=str(root), split='val', pipeline=PIPELINE, test_mode=True
    )
    ids = [
        data.get_data_info(i)['sample_id']
        for data in (train, test)
        for i in range(2)
    ]
    assert ids == [
        '2008_002176', '2008_007586', '2008_008246', '2009_001521',
    ]  # fmt: skip
    for data, start in ((train, 0), (test, 2)):
        assert len(data) == 2
        for i in range(2):
            item, sample = data[i], ids[start + i]
            photo = np.asarray(Image.open(root / f'JPEGImages/{sample}.jpg'))
            assert np.array_equal(item['img'], photo[..., ::-1])
            maps = item['gt_maps']
            assert sorted(maps) == [
                'edge', 'human_parts', 'normals', 'sal', 'semseg',
            ]  # fmt: skip
            stored = Image.open(root / f'semseg/VOC12/{sample}.png')
            assert np.array_equal(maps['semseg'], np.asarray(stored))
            salient = Image.open(root / f'sal_distill/{sample}.png')
            assert np.array_equal(maps['sal'], np.asarray(salient) > 127)
            parts = parts_by_hand(root / f'human_parts/{sample}.mat')
            assert np.array_equal(maps['human_parts'], parts)
            assert parts.any()
            # The body is where semseg has a person, and heads are on top.
            assert (maps['semseg'][parts > 0] == 15).mean() > 0.95
            # All of its normals look at the camera.
            assert (maps['normals'][..., 2] > 0.99).all()
            edge = maps['edge']
            assert set(np.unique(edge)) == {0, 1}
            assert edge.shape == photo.shape[:2]
    assert len(set(train.tasks['semseg'].classes)) == 21
    assert train.tasks['semseg'].classes[15] == 'person'
    assert train.tasks['edge'].max_dist == 0.0075


def test_edges_are_those_of_skimage(root):
    """The label map's borders, thinned as scikit-image thins."""
    thin = pytest.importorskip('skimage.morphology').thin
    for path in sorted((root / 'pascal-context/trainval').glob('*.mat')):
        label = loadmat(path)['LabelMap'].astype(float)
        padded = np.pad(label, 1, mode='reflect')
        laplace = (
            padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2]
            + padded[1:-1, 2:] - 4 * label
        )  # fmt: skip
        assert np.array_equal(read_edges(str(path)), thin(laplace != 0))


def test_edges_of_a_square(tmp_path):
    label = np.full((20, 20), 7, np.uint16)
    label[5:15, 5:15] = 300
    savemat(tmp_path / 'a.mat', dict(LabelMap=label))
    edge = read_edges(str(tmp_path / 'a.mat'))
    places = np.nonzero(edge)
    # One closed line, one pixel wide, within a pixel of the border.
    assert np.min(places) >= 4 and np.max(places) <= 15
    assert not edge[6:14, 6:14].any() and 30 <= edge.sum() <= 40
    assert cv2.connectedComponents(edge, connectivity=8)[0] == 2
    assert cv2.connectedComponents(1 - edge, connectivity=4)[0] == 3


def test_normals_of_the_listed_classes_only(shared_data, tmp_path):
    listed = json.loads(
        (shared_data / 'pascal_normals_classes.json').read_text()
    )
    assert sorted(listed.values()) == list(NORMALS_CLASSES)
    assert 427 in NORMALS_CLASSES and len(set(NORMALS_CLASSES)) == 170
    # All 459 classes beside each other, normals to the right.
    label = np.arange(1, 460, dtype=np.uint16)[None].repeat(2, 0)
    savemat(tmp_path / 'map.mat', dict(LabelMap=label))
    picture = np.full((2, 459, 3), 128, np.uint8)
    picture[..., 0] = 255
    Image.fromarray(picture).save(tmp_path / 'n.png')
    normal = read_normals(str(tmp_path / 'n.png'), str(tmp_path / 'map.mat'))
    known = normal.any(-1)
    assert (known == np.isin(label, list(listed.values()))).all()
    assert np.allclose(normal[known], (1, 1 / 255, 1 / 255), atol=1e-6)


def test_normals_of_another_size_than_the_label_map(tmp_path):
    label = np.array([[158, 1]], np.uint16)  # floor, and a class without
    savemat(tmp_path / 'map.mat', dict(LabelMap=label))
    picture = np.full((4, 8, 3), 255, np.uint8)
    Image.fromarray(picture).save(tmp_path / 'n.png')
    normal = read_normals(str(tmp_path / 'n.png'), str(tmp_path / 'map.mat'))
    assert normal[:, :4].all() and not normal[:, 4:].any()


def test_saliency_is_cut_at_a_half(tmp_path):
    picture = np.array([[0, 127, 128, 255]], np.uint8)
    Image.fromarray(picture).save(tmp_path / 's.png')
    assert read_saliency(str(tmp_path / 's.png')).tolist() == [[0, 0, 1, 1]]
    Image.fromarray(picture > 100).save(tmp_path / 's.png')
    assert read_saliency(str(tmp_path / 's.png')).tolist() == [[0, 1, 1, 1]]


def test_names_of_parts():
    for number, names in enumerate(NAMES, 1):
        assert [part_number(n) for n in names.split()] == [number] * len(
            names.split()
        )
    for wrong in ('tail', 'lhead', 'rnose', 'arm', 'ear', 'larm_', ''):
        with pytest.raises(KeyError):
            part_number(wrong)


def annotation(objects):
    """PASCAL-Part's nested form of [(class, mask, [(part, mask)])]."""

    def cells(fields, rows):
        array = np.empty((1, len(rows)), [(f, object) for f in fields])
        for k, row in enumerate(rows):
            array[0, k] = row
        return array

    things = cells(
        ('class', 'class_ind', 'mask', 'parts'),
        [
            (
                'thing', np.array([[float(kind)]]), mask,
                cells(('part_name', 'mask'), parts) if parts else
                np.zeros((0, 0)),
            )
            for kind, mask, parts in objects
        ],
    )  # fmt: skip
    if not objects:
        things = np.zeros((0, 0))
    return dict(anno=cells(('imname', 'objects'), [('a', things)]))


def mask(*places):
    result = np.zeros((4, 6), np.uint8)
    for place in places:
        result[place] = 1
    return result


def test_parts_of_people_only(tmp_path):
    """A horse's head is none; two people; someone without parts."""
    path, image = tmp_path / 'a.mat', tmp_path / 'a.png'
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(image)
    objects = [
        (13, mask((0, 0)), [('head', mask((0, 0))), ('tail', mask((1, 1)))]),
        (15, mask((2, 2)), [('lhand', mask((2, 2))), ('nose', mask((2, 3)))]),
        (15, mask((3, 3)), [('rfoot', mask((3, 3)))]),
        (15, mask((3, 5)), []),
    ]
    savemat(path, annotation(objects))
    expected = np.zeros((4, 6), int)
    expected[2, 2], expected[2, 3], expected[3, 3] = 4, 1, 6
    assert np.array_equal(read_parts(str(path), str(image)), expected)
    for nothing in ([], objects[:1], objects[3:]):
        savemat(path, annotation(nothing))
        label = read_parts(str(path), str(image))
        assert label.shape == (4, 6) and not label.any()


@pytest.mark.parametrize(
    ('content', 'problem'),
    [
        (dict(other=1), "no variable 'anno'.*it has other"),
        (dict(anno=3), 'no annotation of PASCAL-Part'),
        (annotation([(15, mask(), [('tail', mask())])]), "'tail' is not a"),
        (annotation([(15, mask(), [('head', mask()[:2])])]), r'\(2, 6\), not'),
    ],
)
def test_bad_parts(tmp_path, content, problem):
    path = tmp_path / 'a.mat'
    savemat(path, content)
    with pytest.raises(DataFileError, match=problem) as caught:
        DataFile(str(path), lambda p: read_parts(p, 'none')).load()
    assert str(path) in str(caught.value)


def test_bad_label_maps(copy):
    path = copy / 'pascal-context/trainval/2008_002176.mat'
    for content, problem in (
        (dict(labels=np.ones((3, 3))), r"no variable 'LabelMap'.*has labels"),
        (dict(LabelMap=np.full((294, 500), 460)), r'\[460\]'),
        (dict(LabelMap=np.full((294, 500), 1.5)), r'\[1\.5\]'),
        (dict(LabelMap=np.full((294, 500), np.nan)), r'\[nan\]'),
        (dict(LabelMap=np.ones((3, 3, 3))), r'expected H x W'),
        (dict(LabelMap='x'), r'expected H x W'),
    ):
        savemat(path, content)
        for task in ('edge', 'normals'):
            data = PASCALContextMTDataset(
                data_root=str(copy), tasks={task: {}}, pipeline=PIPELINE
            )
            with pytest.raises(DataFileError, match=problem) as caught:
                data[0]
            assert str(path) in str(caught.value)
    path.write_bytes(b'')
    with pytest.raises(DataFileError, match='0 bytes'):
        data[0]
    path.unlink()
    with pytest.raises(DataFileError, match=r'trainval/2008_002176\.mat'):
        data[0]


def test_the_second_folder_of_semseg(copy):
    name = '2008_007586.png'
    (copy / 'semseg/pascal-context').mkdir()
    (copy / 'semseg/VOC12' / name).rename(
        copy / 'semseg/pascal-context' / name
    )
    data = PASCALContextMTDataset(
        data_root=str(copy), tasks=dict(semseg={}), pipeline=PIPELINE
    )
    folders = [
        os.path.dirname(data.get_data_info(i)['labels']['semseg'].path)
        for i in range(2)
    ]
    assert folders == [
        str(copy / 'semseg/VOC12'), str(copy / 'semseg/pascal-context'),
    ]  # fmt: skip
    assert (data[1]['gt_maps']['semseg'] == 15).any()


def test_bad_trees(tmp_path, copy):
    with pytest.raises(DataFileError, match='PASCALContext or PASCAL_MT'):
        PASCALContextMTDataset(data_root=str(tmp_path))
    lists = copy / 'ImageSets/Context/train.txt'
    lists.write_text('2008_002176\n2008_002176\n')
    with pytest.raises(DataFileError, match='lines 1 and 2'):
        PASCALContextMTDataset(data_root=str(copy))


def drawn(root, cache, protocol='one-label', **kwargs):
    return PASCALContextMTDataset(
        data_root=str(root),
        cache_dir=str(cache),
        partial_labels=dict(protocol=protocol, seed=0),
        pipeline=PIPELINE,
        **kwargs,
    )


def without_people(root, sample):
    path = root / f'human_parts/{sample}.mat'
    savemat(path, annotation([(13, np.ones((4, 6)), [])]))


def test_parts_are_drawn_for_people_only(copy, tmp_path):
    ids = [f'2010_{i:06}' for i in range(12)]
    for sample in ids:
        for path in copy.rglob('2008_002176.*'):
            shutil.copyfile(path, path.with_name(f'{sample}{path.suffix}'))
    (copy / 'ImageSets/Context/train.txt').write_text('\n'.join(ids))
    for sample in ids[3:]:
        without_people(copy, sample)
    before = {p: p.stat().st_mtime_ns for p in copy.rglob('*')}
    data = drawn(copy, tmp_path / 'cache')
    assert [data.applicable(i, 'human_parts') for i in ids] == (
        [True] * 3 + [False] * 9
    )
    assert all(data.applicable(i, 'sal') for i in ids)
    mask = data.label_mask
    # 12 images, 5 tasks: 3 are drawn, and just 3 have people.
    assert [i for i in ids if 'human_parts' in mask.labelled[i]] == ids[:3]
    assert sum(mask.counts().values()) == 12
    # Nothing was written into the data folder.
    assert {p: p.stat().st_mtime_ns for p in copy.rglob('*')} == before


def files_of(root):
    return {
        path.stem: DataFile(str(path), _read_and_count)
        for path in sorted((root / 'human_parts').glob('*.mat'))
    }


READ = []


def _read_and_count(path):
    READ.append(path)
    return read_parts(path, 'none')


def test_the_cache_of_people(copy, tmp_path):
    cache, files = tmp_path / 'a' / 'cache', files_of(copy)
    READ.clear()
    everyone = set(files)
    assert scan_people(files, cache) == everyone and len(READ) == 4
    assert scan_people(files, cache) == everyone and len(READ) == 4
    # A changed label makes it stale.
    without_people(copy, '2008_002176')
    rest = everyone - {'2008_002176'}
    assert scan_people(files, cache) == rest and len(READ) == 8
    assert scan_people(files, cache) == rest and len(READ) == 8
    # A damaged or foreign cache is built anew, and is whole then.
    for content in (
        b'',
        b'{"people"',
        b'{"images": 4, "people": ["x"]}',
        b'3',
    ):
        READ.clear()
        for path in cache.iterdir():
            path.write_bytes(content)
        assert scan_people(files, cache) == rest and len(READ) == 4
        assert scan_people(files, cache) == rest and len(READ) == 4
    # Others images have another.
    READ.clear()
    del files['2009_001521']
    assert scan_people(files, cache) == rest - {'2009_001521'}
    assert len(READ) == 3


def test_a_cache_that_cannot_be_written(copy, tmp_path):
    blocked = tmp_path / 'file'
    blocked.write_text('')
    with pytest.warns(UserWarning, match='Set cache_dir') as caught:
        data = drawn(copy, blocked / 'cache')
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert data.applicable('2008_002176', 'human_parts')
    assert list(data[0]['gt_maps']) == list(
        drawn(copy, tmp_path / 'cache')[0]['gt_maps']
    )


def test_several_processes_share_the_cache(copy, tmp_path):
    import multiprocessing

    cache = tmp_path / 'cache'
    context = multiprocessing.get_context('fork')
    with context.Pool(4) as pool:
        found = pool.starmap(_scan, [(copy, cache)] * 8, chunksize=1)
    assert found == [set(files_of(copy))] * 8
    assert [p.name[:7] for p in cache.iterdir()] == ['people-']


def _scan(root, cache):
    return scan_people(files_of(root), cache)


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert default_cache_dir() == tmp_path / 'mmprotomtl'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path / 'me'))
    assert default_cache_dir() == tmp_path / 'me/.cache/mmprotomtl'


def test_no_scan_without_a_drawing(copy, tmp_path):
    """A published mask, and a run without any, read no parts."""
    for path in (copy / 'human_parts').iterdir():
        path.write_bytes(b'damaged')
    rows = {
        '2008_002176': [1, 0, 0, 0, 0],
        '2008_007586': [0, 0, 0, 1, 0],
    }
    torch.save(rows, tmp_path / 'mask.pth')
    data = PASCALContextMTDataset(
        data_root=str(copy),
        partial_labels=dict(mask_file=str(tmp_path / 'mask.pth')),
        pipeline=PIPELINE,
    )
    assert [list(data[i]['gt_maps']) for i in range(2)] == [
        ['semseg'], ['normals'],
    ]  # fmt: skip
    with pytest.raises(DataFileError, match=r'human_parts/2008_00'):
        drawn(copy, tmp_path)


def test_the_published_mask_names_its_tasks(shared_data):
    path = shared_data / 'partial_labels/pascal/new_onelabel.pth'
    mask = read_mask_file(str(path))
    assert set(mask.tasks) == set(PASCALContextMTDataset.METAINFO['tasks'])
    assert len(mask.labelled) == PASCALContextMTDataset.PUBLISHED['train']
