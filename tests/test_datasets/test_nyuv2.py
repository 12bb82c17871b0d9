import numpy as np
import pytest

from mmprotomtl.datasets import NYUv2Dataset
from mmprotomtl.utils.errors import DataFileError

PIPELINE = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
]


def test_the_real_set(nyuv2):
    train = NYUv2Dataset(data_root=str(nyuv2), pipeline=PIPELINE)
    test = NYUv2Dataset(
        data_root=str(nyuv2), split='val', pipeline=PIPELINE, test_mode=True
    )
    assert (len(train), len(test)) == (795, 654)
    item = train[7]
    raw = {
        name: np.load(nyuv2 / 'train' / name / '7.npy')
        for name in ('image', 'label', 'depth', 'normal')
    }
    assert np.allclose(item['img'][..., ::-1] / 255, raw['image'], atol=1e-2)
    maps = item['gt_maps']
    unlabelled = raw['label'] == -1
    assert (maps['semseg'][unlabelled] == 255).all()
    assert (maps['semseg'] == raw['label'])[~unlabelled].all()
    assert np.array_equal(maps['depth'], raw['depth'][..., 0])
    assert np.allclose(maps['normals'], raw['normal'], atol=1e-3)
    assert 1 < np.median(maps['depth']) < 6


def test_class_names_fit_the_labels(nyuv2):
    """Ceilings are above floors, beds and sofas below pictures."""
    dataset = NYUv2Dataset(data_root=str(nyuv2), pipeline=PIPELINE)
    rows = np.zeros((13, 2))
    for i in range(0, 795, 8):
        label = dataset[i]['gt_maps']['semseg']
        y, _ = np.indices(label.shape)
        for c in range(13):
            rows[c] += (y[label == c].sum(), (label == c).sum())
    height = dict(
        zip(
            dataset.tasks['semseg'].classes,
            rows[:, 0] / rows[:, 1],
            strict=True,
        )
    )
    assert height['ceiling'] < height['picture'] < height['wall']
    assert height['wall'] < height['bed'] < height['floor']
    assert height['window'] < height['sofa'] < height['floor']


def test_a_missing_folder_says_how_to_get_it(tmp_path):
    with pytest.raises(DataFileError, match='MTAN published'):
        NYUv2Dataset(data_root=str(tmp_path))


def test_a_gap_in_the_numbers_is_named(tmp_path):
    folder = tmp_path / 'train' / 'image'
    folder.mkdir(parents=True)
    for i in (0, 1, 3):
        np.save(folder / f'{i}.npy', np.zeros((2, 2, 3)))
    with pytest.raises(DataFileError, match=r'2\.npy: missing'):
        NYUv2Dataset(data_root=str(tmp_path))


def test_wrong_arguments_are_named(nyuv2):
    root = str(nyuv2)
    with pytest.raises(ValueError, match="split='test'"):
        NYUv2Dataset(data_root=root, split='test')
    with pytest.raises(ValueError, match=r'tasks\.edge.*no labels'):
        NYUv2Dataset(data_root=root, tasks=dict(edge={}))
    with pytest.raises(ValueError, match=r'num_classes=40 .* it is 13'):
        NYUv2Dataset(data_root=root, tasks=dict(semseg=dict(num_classes=40)))
