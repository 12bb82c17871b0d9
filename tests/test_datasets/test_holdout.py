import pytest

from mmprotomtl.datasets import NYUv2Dataset, SyntheticScenesDataset


def scenes(part, **kwargs):
    holdout = dict(fraction=0.25, seed=3, part=part)
    return SyntheticScenesDataset(
        num_scenes=40,
        holdout=holdout,
        partial_labels=dict(protocol='one-label', seed=1),
        **kwargs,
    )


def ids(dataset):
    return [dataset.get_data_info(i)['sample_id'] for i in range(len(dataset))]


def test_parts_are_disjoint_and_complete():
    train, val = scenes('train'), scenes('val')
    assert (len(train), len(val)) == (30, 10)
    assert not set(ids(train)) & set(ids(val))
    assert set(ids(train)) | set(ids(val)) == {str(i) for i in range(40)}
    assert ids(val) == ids(scenes('val'))
    assert val.metainfo['holdout'] == dict(fraction=0.25, seed=3, part='val')
    other = scenes('val')
    other.holdout['seed'] = 4
    other._fully_initialized = False
    other.full_init()
    assert ids(other) != ids(val)


def test_the_mask_speaks_of_all_images():
    whole = SyntheticScenesDataset(
        num_scenes=40, partial_labels=dict(protocol='one-label', seed=1)
    )
    mask = whole.metainfo['label_mask']
    for part in ('train', 'val'):
        data = scenes(part)
        assert data.metainfo['label_mask'] == mask
        for i in range(len(data)):
            info = data.get_data_info(i)
            assert set(info['labels']) == set(
                whole.label_mask.labelled[info['sample_id']]
            )


def test_with_images_left_out():
    kwargs = dict(
        tasks=dict(depth=dict()), filter_cfg=dict(drop_unlabelled=True)
    )
    train, val = scenes('train', **kwargs), scenes('val', **kwargs)
    assert set(ids(val)) <= set(ids(scenes('val')))
    assert set(ids(train)) <= set(ids(scenes('train')))


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"holdout\.part='test' is not"):
        scenes('test')
    with pytest.raises(ValueError, match=r'holdout\.fraction=1\.5 is not'):
        SyntheticScenesDataset(holdout=dict(fraction=1.5))


def test_official_test_splits():
    assert 'val' in NYUv2Dataset.TEST_SPLITS
    assert SyntheticScenesDataset.TEST_SPLITS == ('test',)
