import numpy as np
import pytest
import torch

from mmprotomtl.datasets import CityscapesMTDataset
from mmprotomtl.utils.errors import DataFileError

PIPELINE = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
]
H, W = 8, 16


@pytest.fixture
def root(tmp_path):
    """Cityscapes in the form of MTAN, of noise."""
    rng = np.random.default_rng(0)
    for split, number in (('train', 5), ('val', 2)):
        arrays = dict(
            image=lambda: rng.random((H, W, 3)).astype(np.float32),
            label_7=lambda: rng.integers(-1, 7, (H, W)).astype(float),
            label_19=lambda: rng.integers(-1, 19, (H, W)).astype(np.int8),
            depth=lambda: (
                rng.random((H, W, 1)) * (rng.random((H, W, 1)) > 0.2)
            ),
        )
        for folder, make in arrays.items():
            (tmp_path / split / folder).mkdir(parents=True)
            for i in range(number):
                np.save(tmp_path / split / folder / f'{i}.npy', make())
    return tmp_path


@pytest.mark.parametrize('number', [7, 19])
def test_labels(root, number):
    kwargs = dict(data_root=str(root), num_classes=number, pipeline=PIPELINE)
    train = CityscapesMTDataset(**kwargs)
    test = CityscapesMTDataset(split='val', test_mode=True, **kwargs)
    assert (len(train), len(test)) == (5, 2)
    item = train[3]
    raw = {
        name: np.load(root / 'train' / name / '3.npy')
        for name in ('image', f'label_{number}', 'depth')
    }
    assert np.allclose(item['img'][..., ::-1] / 255, raw['image'], atol=1e-2)
    label, maps = raw[f'label_{number}'], item['gt_maps']
    assert sorted(maps) == ['depth', 'semseg']
    assert (maps['semseg'][label == -1] == 255).all()
    assert (maps['semseg'] == label)[label != -1].all()
    assert np.allclose(maps['depth'], raw['depth'][..., 0])
    assert (maps['depth'] == 0).any()
    semseg = train.metainfo['tasks']['semseg']
    assert semseg['num_classes'] == len(semseg['classes']) == number


def test_depth_is_disparity(root):
    """A zoom makes disparity larger."""
    dataset = CityscapesMTDataset(data_root=str(root))
    assert dataset.tasks['depth'].unit == 'disparity'
    assert dataset.tasks['depth'].value_map(scale=2.0) == 2


def test_a_published_mask(root):
    table = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1], [1, 0]])
    torch.save(dict(labels_weights=table), root / 'onelabel.pth')
    dataset = CityscapesMTDataset(
        data_root=str(root),
        partial_labels=dict(mask_file=str(root / 'onelabel.pth')),
        pipeline=PIPELINE,
    )
    assert [list(dataset[i]['gt_maps']) for i in range(5)] == [
        ['semseg'], ['depth'], ['semseg'], ['depth'], ['semseg'],
    ]  # fmt: skip


def test_wrong_arguments_and_files(root, tmp_path_factory):
    with pytest.raises(ValueError, match=r'num_classes=8 .* choose 7, 19'):
        CityscapesMTDataset(data_root=str(root), num_classes=8)
    with pytest.raises(ValueError, match=r'num_classes=19 .* it is 7'):
        CityscapesMTDataset(
            data_root=str(root), tasks=dict(semseg=dict(num_classes=19))
        )
    with pytest.raises(DataFileError, match='image,label_19,depth'):
        CityscapesMTDataset(
            data_root=str(tmp_path_factory.mktemp('empty')), num_classes=19
        )
    # Labels of the other set of classes are refused.
    path = root / 'train' / 'label_7' / '0.npy'
    np.save(path, np.full((H, W), 18))
    dataset = CityscapesMTDataset(data_root=str(root), pipeline=PIPELINE)
    with pytest.raises(DataFileError, match=r'label_7/0\.npy.*\[18\]'):
        dataset[0]
