import shutil

import numpy as np
import pytest
from PIL import Image

from mmprotomtl.datasets import NYUDv2Dataset
from mmprotomtl.readers import read_ids, read_normal_picture
from mmprotomtl.utils.errors import DataFileError

PIPELINE = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
]
ENDINGS = {'NYUDv2_atrc': ('png', 'png'), 'NYUD_MT': ('jpg', 'npy')}


@pytest.fixture
def layouts(shared_data):
    return shared_data / 'layouts'


@pytest.mark.parametrize('archive', ENDINGS)
def test_both_archives(layouts, archive):
    root = layouts / archive
    images, labels = ENDINGS[archive]
    train = NYUDv2Dataset(data_root=str(root), pipeline=PIPELINE)
    test = NYUDv2Dataset(
        data_root=str(root), split='val', pipeline=PIPELINE, test_mode=True
    )
    assert [train[i]['sample_id'] for i in range(3)] == [
        '0003',
        '0004',
        '0005',
    ]
    assert [test[i]['sample_id'] for i in range(2)] == ['0001', '0002']
    item = train[1]
    photo = np.asarray(Image.open(root / f'images/0004.{images}'))
    assert np.array_equal(item['img'], photo[..., ::-1])
    stored = np.asarray(Image.open(root / 'segmentation/0004.png'))
    maps = item['gt_maps']
    assert stored.min() == 0 and stored.max() == 40
    assert (maps['semseg'][stored == 0] == 255).all()
    assert (maps['semseg'] == stored - 1.0)[stored > 0].all()
    depth = np.load(root / 'depth/0004.npy')
    assert np.array_equal(maps['depth'], depth)
    if labels == 'png':
        edge = np.asarray(Image.open(root / 'edge/0004.png')) // 255
        normal = np.asarray(Image.open(root / 'normals/0004.png')) / 127.5 - 1
    else:
        edge = np.load(root / 'edge/0004.npy')
        normal = np.load(root / 'normals/0004.npy')
    assert np.array_equal(maps['edge'], edge) and edge.any()
    length = np.linalg.norm(normal, axis=-1)
    known = length > 0.1
    assert known.mean() > 0.9
    expected = normal[known] / length[known][:, None]
    assert np.allclose(maps['normals'][known], expected, atol=1e-4)
    assert not maps['normals'][~known].any()


def test_what_it_knows(layouts):
    dataset = NYUDv2Dataset(data_root=str(layouts / 'NYUD_MT'))
    tasks = dataset.tasks
    assert list(tasks) == ['depth', 'edge', 'normals', 'semseg']
    assert tasks['edge'].max_dist == 0.011
    assert len(set(tasks['semseg'].classes)) == 40
    # Floors are below what hangs on walls and below ceilings.
    rows = {name: [] for name in tasks['semseg'].classes}
    for split in ('train', 'val'):
        data = NYUDv2Dataset(
            data_root=str(layouts / 'NYUD_MT'), split=split, pipeline=PIPELINE
        )
        for item in data:
            label = item['gt_maps']['semseg']
            for i, name in enumerate(rows):
                rows[name].extend(np.nonzero(label == i)[0])
    height = {name: np.mean(place) for name, place in rows.items() if place}
    assert height['wall'] < height['floor']
    assert 'cabinet' not in height or height['cabinet'] > height['wall']


def copy(layouts, archive, tmp_path):
    root = tmp_path / 'nyud'
    shutil.copytree(layouts / archive, root, copy_function=shutil.copyfile)
    for folder in [root, *(p for p in root.rglob('*') if p.is_dir())]:
        folder.chmod(0o755)
    return root


@pytest.mark.parametrize('folder', ['images', 'normals', 'edge'])
def test_archives_are_not_mixed(layouts, tmp_path, folder):
    root = copy(layouts, 'NYUDv2_atrc', tmp_path)
    (source,) = (layouts / 'NYUD_MT' / folder).glob('0001.*')
    shutil.copyfile(source, root / folder / source.name)
    with pytest.raises(DataFileError, match='mixture') as caught:
        NYUDv2Dataset(data_root=str(root))
    assert 'of NYUDv2' in str(caught.value)
    assert f'{folder}/*{source.suffix} of NYUD_MT' in str(caught.value)


def test_a_folder_of_the_other_archive(layouts, tmp_path):
    root = copy(layouts, 'NYUD_MT', tmp_path)
    shutil.rmtree(root / 'normals')
    shutil.copytree(layouts / 'NYUDv2_atrc' / 'normals', root / 'normals')
    with pytest.raises(DataFileError, match='NYUD_MT.*NYUDv2|NYUDv2.*NYUD_MT'):
        NYUDv2Dataset(data_root=str(root))


def test_missing_and_damaged_files(layouts, tmp_path):
    with pytest.raises(DataFileError, match=r'images/\*\.png.*images/\*\.jpg'):
        NYUDv2Dataset(data_root=str(tmp_path))
    root = copy(layouts, 'NYUDv2_atrc', tmp_path)
    for value in (41, 255):
        label = np.full((120, 160), value, np.uint8)
        Image.fromarray(label).save(root / 'segmentation' / '0003.png')
        dataset = NYUDv2Dataset(data_root=str(root), pipeline=PIPELINE)
        with pytest.raises(DataFileError, match=r'segmentation/0003\.png'):
            dataset[0]
    deep = Image.fromarray(np.zeros((120, 160), np.uint16))
    deep.save(root / 'edge' / '0004.png')
    with pytest.raises(DataFileError, match=r'edge/0004\.png.*uint8'):
        dataset[1]
    (root / 'gt_sets' / 'train.txt').unlink()
    with pytest.raises(DataFileError, match=r'train\.txt: no such list'):
        NYUDv2Dataset(data_root=str(root))


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        ('a\n\nb\n', 'line 2 is blank'),
        ('a\n  \n', 'line 2 is blank'),
        ('a\nb \n', "line 2 is 'b '"),
        ('a\n../b\n', r"line 2 is '\.\./b'"),
        ('a\nb\na\n', "'a' is in lines 1 and 3"),
        ('', 'no id'),
    ],
)
def test_bad_lists_of_ids(tmp_path, text, problem):
    path = tmp_path / 'train.txt'
    path.write_text(text)
    with pytest.raises(DataFileError, match=problem) as caught:
        read_ids(str(path))
    assert str(path) in str(caught.value)


def test_good_lists_of_ids(tmp_path):
    path = tmp_path / 'train.txt'
    path.write_bytes(b'2008_000001\r\n0002\r\nimg-3.b')
    assert read_ids(str(path)) == ['2008_000001', '0002', 'img-3.b']
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(DataFileError, match='UnicodeDecodeError'):
        read_ids(str(path))


def test_grey_is_no_normal(tmp_path):
    picture = np.array([[[128, 128, 128], [127, 127, 127], [128, 128, 255]]])
    path = tmp_path / 'n.png'
    Image.fromarray(picture.astype(np.uint8)).save(path)
    normal = read_normal_picture(str(path))
    assert not normal[0, :2].any()
    assert np.allclose(normal[0, 2], (1 / 255, 1 / 255, 1), atol=1e-6)
