import pytest

from mmprotomtl.datasets import MultiTaskConcatDataset, SyntheticScenesDataset
from mmprotomtl.engine.validation_labels import check_validation_labels

MASK = dict(protocol='one-label', seed=1)


def scenes(part=None, **kwargs):
    holdout = part and dict(fraction=0.25, seed=0, part=part)
    kwargs = dict(num_scenes=8, tasks=dict(sal={}, depth={}), **kwargs)
    return SyntheticScenesDataset(
        holdout=holdout, serialize_data=False, **kwargs
    )


def check(train, val):
    check_validation_labels(train, val, "save_best='depth/RMSE'")


@pytest.mark.parametrize('part', [None, 'train'])
def test_hidden_labels_are_refused(part):
    """Of the images that are trained on, and of those that are held out."""
    train = scenes(part, partial_labels=MASK)
    # Each of the 2 images of the validation part has a label of 2 too many.
    with pytest.raises(
        ValueError,
        match=r"save_best='depth/RMSE' would choose .* by 2 labels.*"
        r"protocol='one-label', seed=1.*dataset\.partial_labels='full'",
    ):
        check(train, scenes('val'))
    with pytest.raises(ValueError, match=r'by 2 labels .*datasets\.1 is of'):
        check(
            MultiTaskConcatDataset([train]),
            MultiTaskConcatDataset([scenes(split='val'), scenes('val')]),
        )


def test_what_is_allowed():
    train = scenes('train', partial_labels=MASK)
    check(train, scenes('val', partial_labels=MASK))
    check(train, scenes('val', partial_labels='full'))
    check(train, scenes(split='val'))
    check(train, scenes(seed=1))
    check(scenes('train'), scenes('val'))
    check(scenes('train', partial_labels='full'), scenes('val'))
    check(object(), object())
