"""Labels of own folders: what is stored and what is said becomes the label."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmprotomtl.datasets import ImageFolderMTDataset
from mmprotomtl.datasets.check import check_config
from mmprotomtl.readers import read_annotators, read_label
from mmprotomtl.utils.errors import DataFileError
from tests.test_readers.test_pictures import cv, one_bit, pil, ramp

H, W = 5, 7
ROW = np.arange(H * W).reshape(H, W)
BITS = (ROW % 3 == 0).astype(np.uint8)
CLASSES = (ROW % 4).astype(np.uint8)
UNIT = 2 / 255


def deep(*vector):
    stored = np.round((np.array(vector) + 1) / 2 * 65535).astype(np.uint16)
    return cv('.png', np.broadcast_to(stored, (H, W, 3)))


def cell(*arrays):
    """BSDS's ground truth: a cell of structs."""
    truth = np.empty((1, len(arrays)), object)
    for place, array in enumerate(arrays):
        truth[0, place] = dict(Segmentation=array + 1, Boundaries=array)
    return dict(groundTruth=truth)


def mat(**variables):
    return lambda path: savemat(path, variables, do_compression=True)


def marks(*columns):
    """An annotator who marked some columns."""
    array = np.zeros((H, W), np.uint8)
    array[:, list(columns)] = 1
    return array


THREE = (marks(1, 2), marks(2, 3), marks(2, 3, 4))
WITH_VOID = np.where(ROW == 5, 255, BITS)
GRAY_BORDER = np.select(
    [ROW == 1, ROW == 2], [127, 128], BITS.astype(int) * 255
)
#: What is done -> task, ending, what is stored, options, the label; a text
#: instead: what the error says.
CASES = {
    'classes': ('semseg', 'png', CLASSES, {}, CLASSES),
    'classes from 1, 0 and 255 both void': (
        'semseg', 'png', np.where(ROW == 5, 255, CLASSES),
        dict(ignore=(0, 255), offset=-1),
        np.where((CLASSES == 0) | (ROW == 5), 255, CLASSES - 1.0),
    ),
    'classes from 1, 255 not named': (
        'semseg', 'png', np.where(ROW == 5, 255, CLASSES),
        dict(ignore=0, offset=-1), r'\[254.*folders\.semseg has ignore=0',
    ),
    'classes as JPEG': ('semseg', 'jpg', CLASSES, {}, 'compressed by JPEG'),
    'edges as JPEG': (
        'edge', 'jpg', BITS * 255, dict(scale=1 / 255), 'compressed by JPEG',
    ),
    'saliency as JPEG with a threshold': (
        'sal', 'jpg', np.kron([[0, 1]], np.ones((8, 8), np.uint8)) * 255,
        dict(scale=1 / 255, threshold=0.5),
        np.kron([[0, 1]], np.ones((8, 8))),
    ),
    '0 and 1': ('sal', 'png', BITS, {}, BITS),
    '0, 1 and 255': ('sal', 'png', WITH_VOID, {}, WITH_VOID),
    '0 and 255': ('sal', 'png', BITS * 255, {}, r'scale=1 / 255.*ignore=255'),
    '255 alone': ('edge', 'npy', BITS * 0 + 255, {}, 'scale=1 / 255'),
    '0 and 255 of two classes': (
        'two', 'png', BITS * 255, {}, 'scale=1 / 255',
    ),
    '0 and 255, scaled': ('sal', 'png', BITS * 255, dict(scale=1 / 255), BITS),
    '0 and 255, void': (
        'sal', 'png', BITS * 255, dict(ignore=255), BITS * 255,
    ),
    '1 bit': ('edge', 'png', one_bit(BITS), {}, BITS),
    '1 bit, scaled': (
        'edge', 'png', one_bit(BITS), dict(scale=1 / 255), BITS,
    ),
    'black and white palette, scaled': (
        'sal', 'png', pil('PNG', BITS, ramp(0, 255)), dict(scale=1 / 255),
        BITS,
    ),
    'grey borders': (
        'sal', 'png', GRAY_BORDER, dict(scale=1 / 255), '`threshold`',
    ),
    'grey borders with a threshold': (
        'sal', 'png', GRAY_BORDER, dict(scale=1 / 255, threshold=0.5),
        np.select([ROW == 1, ROW == 2], [0, 1], BITS.astype(int)),
    ),
    'grey borders that are void': (
        'sal', 'png', GRAY_BORDER, dict(scale=1 / 255, ignore=(127, 128)),
        np.select([ROW == 1, ROW == 2], [255, 255], BITS.astype(int)),
    ),
    'depth in millimetres': (
        'depth', 'png', (ROW * 100).astype(np.uint16), dict(scale=0.001),
        ROW / 10,
    ),
    'depth as a palette of greys': (
        'depth', 'png', pil('PNG', CLASSES, ramp(0, 10, 20, 250)),
        dict(scale=0.1), np.array([0, 1, 2, 25])[CLASSES],
    ),
    'depth in floating-point TIFF': (
        'depth', 'tiff', (ROW / 8).astype(np.float32), {}, ROW / 8,
    ),
    'normals of 16 bits': (
        'normals', 'png', deep(0.6, 0, -0.8), dict(scale=2 / 65535, offset=-1),
        np.broadcast_to((0.6, 0, -0.8), (H, W, 3)),
    ),
    'normals, exactly in the middle': (
        'normals', 'npy', np.broadcast_to((203, 127, 25), (H, W, 3)),
        dict(scale=1 / 127, offset=-1),
        np.broadcast_to((0.5974, 0, -0.802), (H, W, 3)),
    ),
    'middle grey': (
        'normals', 'png', np.full((H, W, 3), 127, np.uint8),
        dict(scale=UNIT, offset=-1), np.zeros((H, W, 3)),
    ),
    'colours as normals': (
        'normals', 'png', np.full((H, W, 3), 200, np.uint8), {},
        'scale=2 / 255',
    ),
    'a matrix': (
        'semseg', 'mat', mat(groundtruth=CLASSES), dict(key='groundtruth'),
        CLASSES,
    ),
    'the only variable': ('semseg', 'mat', mat(x=CLASSES), {}, CLASSES),
    'two variables': ('semseg', 'mat', mat(x=CLASSES, y=1), {}, 'x, y.*`key`'),
    'no such variable': (
        'semseg', 'mat', mat(x=CLASSES), dict(key='y'), "no variable 'y'",
    ),
    'one annotator': (
        'edge', 'mat', mat(**cell(BITS)), dict(key='groundTruth'), BITS,
    ),
    'segments': (
        'semseg', 'mat', mat(**cell(CLASSES)),
        dict(key='groundTruth.Segmentation', offset=-1), CLASSES,
    ),
    'no such field': (
        'edge', 'mat', mat(**cell(BITS)), dict(key='groundTruth.Lines'),
        'Segmentation, Boundaries',
    ),
    'several annotators': (
        'edge', 'mat', mat(**cell(*THREE)), {}, '3 annotators; set `votes`',
    ),
    'a vote': (
        'edge', 'mat', mat(**cell(*THREE)), dict(votes=1), marks(1, 2, 3, 4),
    ),
    'two votes': (
        'edge', 'mat', mat(**cell(*THREE)),
        dict(votes=2, key='groundTruth.Boundaries'), marks(2, 3),
    ),
    'three votes': (
        'edge', 'mat', mat(**cell(*THREE)), dict(votes=3), marks(2),
    ),
    'four votes': (
        'edge', 'mat', mat(**cell(*THREE)), dict(votes=4), '3 annotators',
    ),
    'votes of 0 and 255': (
        'edge', 'mat', mat(**cell(*(255 * a for a in THREE))),
        dict(votes=2, scale=1 / 255), marks(2, 3),
    ),
    'votes over the last axis': (
        'edge', 'npy', np.dstack(THREE), dict(votes=2), marks(2, 3),
    ),
    'annotators of two sizes': (
        'edge', 'mat', mat(**cell(BITS, BITS[1:])), dict(votes=1),
        'annotators of sizes',
    ),
}  # fmt: skip
TASKS = dict(
    semseg=dict(num_classes=4), two=dict(type='semseg', num_classes=2),
    depth={}, normals={}, sal={}, edge={},
)  # fmt: skip
PIPELINE = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
]


def write(path, stored):
    if callable(stored):
        stored(path)
    elif isinstance(stored, bytes):
        path.write_bytes(stored)
    elif path.suffix == '.npy':
        np.save(path, stored)
    else:
        stored = np.asarray(stored)
        if stored.dtype == np.int64:
            stored = stored.astype(np.uint8)
        Image.fromarray(stored).save(path)


@pytest.mark.parametrize('case', CASES)
def test_an_own_folder(tmp_path, case):
    task, ending, stored, options, expected = CASES[case]
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    size = (H, W) if isinstance(expected, str) else np.shape(expected)[:2]
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(
        tmp_path / 'images/a.png'
    )
    write(tmp_path / f'labels/a.{ending}', stored)
    cfg = dict(
        type='ImageFolderMTDataset', data_root=str(tmp_path),
        folders={task: dict(folder='labels', **options)},
        tasks={task: TASKS[task]}, pipeline=PIPELINE,
    )  # fmt: skip
    loader = dict(train_dataloader=dict(dataset=cfg))
    (report,) = check_config(loader, workers=1)
    kwargs = {key: value for key, value in cfg.items() if key != 'type'}
    data = ImageFolderMTDataset(**kwargs)
    if isinstance(expected, str):
        with pytest.raises(DataFileError, match=expected) as caught:
            data[0]
        assert caught.value.path.endswith(f'labels/a.{ending}')
        (error,) = report['errors']
        assert error['problem'] == caught.value.problem
        return
    assert not report['errors']
    found = data[0]['gt_maps'][task]
    if task == 'normals':
        length = np.linalg.norm(expected, axis=-1, keepdims=True)
        expected = expected / np.maximum(length, 1e-6)
    assert np.allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(threshold=0.5), r'folders\.depth\.threshold=0\.5 .*not a bin'),
        (dict(votes=2), r'folders\.depth\.votes=2 is not allowed'),
        (dict(votes=0), r'folders\.depth\.votes=0 is not allowed'),
        (dict(colour=2), r"folders\.depth: key='colour'"),
    ],
)
def test_options_that_are_refused(tmp_path, options, message):
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / 'images/a.npy', np.zeros((H, W, 3)))
    with pytest.raises(ValueError, match=message):
        ImageFolderMTDataset(
            data_root=str(tmp_path), tasks=dict(depth={}),
            folders=dict(depth=dict(folder='labels', **options)),
        )  # fmt: skip


def test_votes_where_an_annotator_is_silent(tmp_path):
    """Enough marks decide; else one who says nothing leaves it open."""
    path = str(tmp_path / 'a.npy')
    np.save(path, np.array([[[1, 1, 255], [1, 0, 255], [0, 0, 0]]]))
    assert read_label(path, votes=2).tolist() == [[1, 255, 0]]
    np.save(path, np.array([[[1, 1, 7]]]))
    with pytest.raises(DataFileError, match=r'annotators have \[7'):
        read_label(path, votes=2)


def test_a_real_ground_truth(shared_data):
    path = shared_data / 'oracles/bsds_bench/groundTruth/2018.mat'
    people = read_annotators(str(path), 'groundTruth')
    assert len(people) > 2
    count = sum(people).astype(int)
    for votes in (1, 2, 3):
        label = read_label(str(path), key='groundTruth', votes=votes)
        assert np.array_equal(label == 1, count >= votes)
    assert 0 < (count >= 2).sum() < (count >= 1).sum()
    regions = read_annotators(str(path), 'groundTruth.Segmentation')
    assert len(regions) == len(people) and regions[0].max() > 1


@pytest.mark.parametrize('turn', range(1, 9))
def test_a_turned_photograph_fits_its_mask(tmp_path, turn):
    """The mask was drawn on what a viewer shows, which is upright."""
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    mask = np.zeros((24, 40), np.uint8)
    mask[2:9, 3:15] = 1
    mask[14:20, 30:38] = 1
    if turn > 4:
        mask = mask.T
    upright = Image.fromarray(np.repeat(mask[..., None] * 255, 3, 2))
    undo = {
        2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4,
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = turn
    stored = upright.transpose(undo[turn]) if turn in undo else upright
    stored.save(tmp_path / 'images/a.jpg', quality=98, exif=exif)
    Image.fromarray(mask).save(tmp_path / 'labels/a.png')
    data = ImageFolderMTDataset(
        data_root=str(tmp_path), tasks=dict(sal={}),
        folders=dict(sal='labels'), pipeline=PIPELINE,
    )  # fmt: skip
    item = data[0]
    assert item['ori_shape'] == mask.shape
    seen = item['img'][..., 0] > 127
    assert (seen == item['gt_maps']['sal']).mean() > 0.99


def test_names_in_two_forms_of_unicode(tmp_path):
    """macOS writes the accent after the letter; a list on Windows begins with
    a byte-order mark and ends its lines in two signs.
    """
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for name in ('cafe\u0301', 'plage'):
        np.save(tmp_path / f'images/{name}.npy', np.zeros((H, W, 3)))
    Image.fromarray(BITS).save(tmp_path / 'labels/caf\u00e9.png')
    (tmp_path / 'list.txt').write_bytes(
        b'\xef\xbb\xbfcaf\xc3\xa9\r\nplage\r\n'
    )
    data = ImageFolderMTDataset(
        data_root=str(tmp_path), tasks=dict(sal={}), ids='list.txt',
        folders=dict(sal='labels'), pipeline=PIPELINE,
    )  # fmt: skip
    assert [item['sample_id'] for item in data] == ['caf\u00e9', 'plage']
    assert np.array_equal(data[0]['gt_maps']['sal'], BITS)
    np.save(tmp_path / 'images/caf\u00e9.npy', np.zeros((H, W, 3)))
    with pytest.raises(DataFileError, match='has the same name'):
        ImageFolderMTDataset(
            data_root=str(tmp_path),
            tasks=dict(sal={}),
            folders=dict(sal='labels'),
        )


def test_images_of_other_formats_are_not_passed_over(tmp_path):
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / 'images/a.npy', np.zeros((H, W, 3)))
    (tmp_path / 'images/b.heic').write_bytes(b'')
    with pytest.raises(DataFileError, match=r'b\.heic.*use \.png'):
        ImageFolderMTDataset(
            data_root=str(tmp_path), tasks=dict(sal={}),
            folders=dict(sal='labels'),
        )  # fmt: skip


@pytest.mark.parametrize('dtype', ['i1', 'u1', 'i4'])
def test_vectors_of_whole_numbers(tmp_path, dtype):
    """Along an axis they are vectors as they are; larger ones are colours."""
    path = tmp_path / 'a.npy'
    axes = np.eye(3)[None].astype(dtype)
    np.save(path, axes)
    assert np.array_equal(read_label(str(path), kind='measure'), axes)
    np.save(path, axes * 2)
    with pytest.raises(DataFileError, match='up to 2 where unit vectors'):
        read_label(str(path), kind='measure')
    # A depth map of one channel may hold any number.
    np.save(path, axes[0] * 2)
    assert read_label(str(path), kind='measure').max() == 2


def test_fields_of_fields(tmp_path):
    """Each name after a dot goes one struct deeper."""
    path = str(tmp_path / 'a.mat')
    inner = dict(c=np.arange(6.0).reshape(2, 3), d=np.zeros((2, 2)))
    savemat(path, dict(a=dict(b=inner, e=np.ones((1, 1))), z=np.ones(2)))
    (found,) = read_annotators(path, 'a.b.c')
    assert np.array_equal(found, inner['c'])
    (found,) = read_annotators(path, 'a.e')
    assert found.tolist() == [[1]]
    for key, problem in (
        ('a.b', 'has the fields c, d'),
        ('a.b.x', 'has the fields c, d'),
        ('a.b.c.d', "no field 'd'"),
        ('z.b', "no field 'b'"),
        ('y', 'y'),
    ):
        with pytest.raises(DataFileError, match=problem):
            read_annotators(path, key)
