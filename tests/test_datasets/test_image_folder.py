import numpy as np
import pytest
from PIL import Image

from mmprotomtl.datasets import ImageFolderMTDataset
from mmprotomtl.datasets.check import check_config
from mmprotomtl.label_masks import write_label_mask
from mmprotomtl.readers import read_label
from mmprotomtl.utils.errors import DataFileError

H, W = 6, 8
TASKS = dict(semseg=dict(num_classes=4), depth={}, normals={}, sal={}, edge={})
FOLDERS = dict(
    semseg=dict(folder='masks', ignore=0, offset=-1),
    depth=dict(folder='depth', scale=0.001),
    normals=dict(folder='normals', scale=2 / 255, offset=-1),
    sal=dict(folder='sal', scale=1 / 255),
    edge='edges',
)
PIPELINE = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
]


@pytest.fixture
def root(tmp_path):
    """Four images; a has all labels, b two, c one, d none."""
    rng = np.random.default_rng(0)
    for name in ('images', 'masks', 'depth', 'normals', 'sal', 'edges'):
        (tmp_path / name).mkdir()

    def picture(path, array):
        Image.fromarray(array).save(tmp_path / path)

    for name, ending in zip(
        'abcd', ('png', 'jpg', 'JPEG', 'npy'), strict=True
    ):
        photo = rng.integers(0, 256, (H, W, 3)).astype(np.uint8)
        if ending == 'npy':
            np.save(tmp_path / f'images/{name}.npy', photo)
        else:
            picture(f'images/{name}.{ending}', photo)
    for name in 'ab':
        label = rng.integers(0, 5, (H, W)).astype(np.uint8)
        picture(f'masks/{name}.png', label)
    for name in 'ac':
        label = rng.integers(0, 9000, (H, W)).astype(np.uint16)
        picture(f'depth/{name}.png', label)
    normal = rng.integers(0, 100, (H, W, 3)).astype(np.uint8)
    picture('normals/a.png', normal)
    picture('sal/b.png', (rng.random((H, W)) > 0.5).astype(np.uint8) * 255)
    np.save(tmp_path / 'edges/a.npy', rng.integers(0, 2, (H, W)))
    (tmp_path / 'images' / '.hidden.png').write_text('')
    (tmp_path / 'images' / 'readme.txt').write_text('')
    return tmp_path


def folder(root, **kwargs):
    kwargs = {**dict(folders=FOLDERS, tasks=TASKS), **kwargs}
    return ImageFolderMTDataset(
        data_root=str(root), pipeline=PIPELINE, **kwargs
    )


def test_a_missing_label_is_a_missing_annotation(root):
    data = folder(root)
    seen = {item['sample_id']: sorted(item['gt_maps']) for item in data}
    assert seen == dict(
        a=['depth', 'edge', 'normals', 'semseg'],
        b=['sal', 'semseg'],
        c=['depth'],
        d=[],
    )
    mask = data.metainfo['label_mask']
    assert mask['protocol'] == 'as-on-disk' and mask['images'] == 4
    assert mask['labels'] == dict(depth=2, edge=1, normals=1, sal=1, semseg=2)
    assert data.applicable('c', 'depth')
    assert not data.applicable('c', 'semseg')


def test_values(root):
    data = folder(root)
    a, b = data[0]['gt_maps'], data[1]['gt_maps']
    stored = np.asarray(Image.open(root / 'masks/a.png')).astype(int)
    assert set(np.unique(stored)) == {0, 1, 2, 3, 4}
    assert (a['semseg'][stored == 0] == 255).all()
    assert (a['semseg'] == stored - 1)[stored > 0].all()
    depth = np.asarray(Image.open(root / 'depth/a.png')) / 1000
    assert np.allclose(a['depth'], depth)
    normal = np.asarray(Image.open(root / 'normals/a.png')) / 127.5 - 1
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    assert np.allclose(a['normals'], normal, atol=1e-5)
    assert np.array_equal(a['edge'], np.load(root / 'edges/a.npy'))
    salient = np.asarray(Image.open(root / 'sal/b.png')) > 0
    assert np.array_equal(b['sal'], salient)
    photo = np.load(root / 'images/d.npy')
    assert np.array_equal(data[3]['img'], photo[..., ::-1])


def test_a_subset_by_ids_and_split(root):
    (root / 'val.txt').write_text('c\na\n')
    data = folder(root, ids='{split}.txt', split='val')
    assert [item['sample_id'] for item in data] == ['c', 'a']
    assert data.metainfo['label_mask']['images'] == 2
    (root / 'val.txt').write_text('c\nzebra\n')
    with pytest.raises(DataFileError, match='no image .zebra'):
        folder(root, ids='{split}.txt', split='val')
    (root / 'train').mkdir()
    (root / 'images').rename(root / 'train/rgb')
    assert len(folder(root, images='{split}/rgb')) == 4


def test_masks_and_holdout_work_as_elsewhere(root):
    drawn = folder(root, partial_labels=dict(protocol='one-label', seed=0))
    for item in drawn:
        assert len(item['gt_maps']) <= 1
    mask = drawn.metainfo['label_mask']
    assert mask['protocol'] == 'one-label' and mask['labels']['sal'] <= 1
    kept = folder(root, filter_cfg=dict(drop_unlabelled=True))
    assert [item['sample_id'] for item in kept] == ['a', 'b', 'c']
    parts = [
        folder(root, holdout=dict(fraction=0.25, part=part))
        for part in ('train', 'val')
    ]
    assert [len(part) for part in parts] == [3, 1]


def test_all_labels_are_those_that_there_are(root, tmp_path_factory):
    """Protocol `full` and a manifest count files, not images."""
    counts = dict(depth=2, edge=1, normals=1, sal=1, semseg=2)
    whole = folder(root, partial_labels=dict(protocol='full'))
    assert whole.metainfo['label_mask']['labels'] == counts
    seen = {item['sample_id']: len(item['gt_maps']) for item in whole}
    assert seen == dict(a=4, b=2, c=1, d=0)
    part = dict(
        type='ImageFolderMTDataset', data_root=str(root), folders=FOLDERS,
        tasks=TASKS, partial_labels=dict(protocol='full'),
    )  # fmt: skip
    (report,) = check_config(dict(train_dataloader=dict(dataset=part)))
    assert report['label_mask']['labels'] == counts
    found = {n: entry['readable'] for n, entry in report['tasks'].items()}
    assert found == counts and not report['errors']
    # Ratio 1 keeps the same ones: one hash, whatever the protocol.
    kept = folder(root, partial_labels=dict(protocol='ratio', ratio=1.0))
    mask = whole.label_mask
    assert kept.metainfo['label_mask']['sha256'] == mask.sha256
    path = tmp_path_factory.mktemp('mask') / 'mask.json'
    write_label_mask(path, mask)
    again = folder(root, partial_labels=dict(mask_file=str(path)))
    assert again.metainfo['label_mask']['labels'] == counts
    # Its labels have gone: it is no longer a mask of this folder.
    (root / 'depth/c.png').unlink()
    with pytest.raises(DataFileError, match=r"1 labels that.*depth of 'c'"):
        folder(root, partial_labels=dict(mask_file=str(path)))


def test_hidden_labels_are_not_read(root):
    for name in ('masks', 'depth', 'normals', 'sal', 'edges'):
        for path in (root / name).iterdir():
            path.write_bytes(b'damaged')
    data = folder(
        root,
        tasks=dict(edge={}),
        partial_labels=dict(protocol='budget', budget=dict(edge=0)),
    )
    assert [sorted(item['gt_maps']) for item in data] == [[]] * 4


def test_what_is_refused(root):
    (root / 'masks/x.png').write_bytes(b'')
    with pytest.raises(DataFileError, match=r'masks/x\.png.*without an image'):
        folder(root)
    (root / 'masks/x.png').rename(root / 'masks/c.gif')
    with pytest.raises(DataFileError, match=r'masks/c\.gif.*use \.png'):
        folder(root)
    (root / 'masks/c.gif').unlink()
    np.save(root / 'depth/a.npy', np.ones((H, W)))
    with pytest.raises(DataFileError, match=r'depth/a\.png.*same name'):
        folder(root)
    (root / 'depth/a.npy').unlink()
    with pytest.raises(DataFileError, match='none: no such folder'):
        folder(root, folders=dict(FOLDERS, depth='none'))
    with pytest.raises(ValueError, match=r'tasks\.human_parts.*has no labels'):
        folder(root, tasks=dict(human_parts={}))
    with pytest.raises(ValueError, match=r"folders\.depth: key='factor'"):
        folder(root, folders=dict(depth=dict(folder='depth', factor=2)))
    with pytest.raises(ValueError, match=r'folders\.depth.*no folder'):
        folder(root, folders=dict(depth=dict(scale=2)))
    for path in (root / 'images').iterdir():
        path.unlink()
    with pytest.raises(DataFileError, match='images: no image in it'):
        folder(root)


def test_classes_out_of_range_stay_so(root, tmp_path):
    """Class 256, counted from 1, does not become 255, unlabelled."""
    label = np.full((H, W), 256, np.uint16)
    Image.fromarray(label).save(root / 'masks/a.png')
    with pytest.raises(DataFileError, match=r'masks/a\.png.*NaN'):
        folder(root)[0]
    Image.fromarray(np.full((H, W), 5, np.uint8)).save(root / 'masks/a.png')
    with pytest.raises(DataFileError, match=r'masks/a\.png.*\[4') as caught:
        folder(root)[0]
    # With the settings that made them.
    text = 'folders.semseg has ignore=0, offset=-1: the label is the stored'
    assert text in str(caught.value)


def test_read_label(tmp_path):
    path = str(tmp_path / 'a.npy')
    np.save(path, np.array([[0, 1, 2, 255]]))
    assert read_label(path).tolist() == [[0, 1, 2, 255]]
    assert read_label(path, ignore=2).tolist() == [[0, 1, 255, 255]]
    assert read_label(path, ignore=(0, 255), offset=-1).tolist() == [
        [255, 0, 1, 255]
    ]
    scaled = read_label(path, scale=0.5, invalid=0, ignore=255)
    assert scaled.tolist() == [[0, 0.5, 1, 0]]
    np.save(path, np.array([[[0, 0, 0], [0, 9, 0]]]))
    assert read_label(path, ignore=0, invalid=7).tolist() == [
        [[7, 7, 7], [0, 9, 0]]
    ]
    np.save(path, np.array([['a']]))
    with pytest.raises(DataFileError, match='values of type <U1'):
        read_label(path)


def test_the_check_lists_all_that_is_wrong(root):
    (root / 'masks/x.png').write_bytes(b'')
    (root / 'sal/y.png').write_bytes(b'')
    (root / 'depth/c.png').write_bytes(b'damaged')
    part = dict(
        type='ImageFolderMTDataset', data_root=str(root), folders=FOLDERS,
        tasks=TASKS, pipeline=[],
    )  # fmt: skip
    (report,) = check_config(dict(train_dataloader=dict(dataset=part)))
    names = [error['file'].split('/')[-1] for error in report['errors']]
    assert sorted(names) == ['c.png', 'x.png', 'y.png']
    assert report['tasks']['semseg']['labelled'] == 2


def test_images_in_formats_that_are_not_read(root):
    """They are refused where images are; a label of that name is not one."""
    (root / 'images/notes.gif').write_bytes(b'')
    with pytest.raises(DataFileError, match=r'notes\.gif: an image of'):
        folder(root)
    (root / 'images/notes.gif').rename(root / 'masks/notes.gif')
    assert len(folder(root)) == 4
    # Of the name of an image it would be passed over without a word.
    (root / 'masks/notes.gif').rename(root / 'masks/a.txt')
    with pytest.raises(DataFileError, match=r'masks/a\.txt.*name of an image'):
        folder(root)


@pytest.mark.parametrize('key', ['threshold', 'votes'])
def test_options_of_yes_and_no(root, key):
    folders = dict(FOLDERS, depth=dict(folder='depth', **{key: 1}))
    with pytest.raises(ValueError, match=rf'folders\.depth\.{key}=1 is not'):
        folder(root, folders=folders)
    folders = dict(FOLDERS, edge=dict(folder='edges', **{key: 1}))
    assert len(folder(root, folders=folders)) == 4


@pytest.mark.parametrize('votes', [0, -1, 1.5, '2'])
def test_votes_are_a_number_of_annotators(root, votes):
    folders = dict(edge=dict(folder='edges', votes=votes))
    with pytest.raises(ValueError, match=r'folders\.edge\.votes='):
        folder(root, folders=folders, tasks=dict(edge={}))
