import numpy as np
import pytest
from PIL import Image

from mmprotomtl.datasets import (
    ImageFolderMTDataset,
    MultiTaskConcatDataset,
    SyntheticScenesDataset,
)
from mmprotomtl.engine.validation_labels import check_validation_labels

MASK = dict(protocol='one-label', seed=1)


def scenes(part=None, **kwargs):
    holdout = part and dict(fraction=0.25, seed=0, part=part)
    kwargs = dict(num_scenes=8, tasks=dict(sal={}, depth={}), **kwargs)
    return SyntheticScenesDataset(
        holdout=holdout, serialize_data=False, **kwargs
    )


def check(train, val):
    return check_validation_labels(train, val, "save_best='depth/RMSE'")


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


def test_another_mask_is_refused():
    """Not only no mask at all: one of another seed shows others."""
    train = scenes('train', partial_labels=MASK)
    other = scenes(partial_labels=dict(protocol='one-label', seed=2))
    rows = other.label_mask.labelled
    shown = sum(
        row != rows[sample]
        for sample, row in train.label_mask.labelled.items()
    )
    assert shown
    with pytest.raises(
        ValueError, match=f'by {shown} labels.*another mask .*seed=2'
    ):
        check(train, other)


def folder(root, **kwargs):
    return ImageFolderMTDataset(
        data_root=str(root), tasks=dict(depth={}), folders=dict(depth='d'),
        serialize_data=False, **kwargs,
    )  # fmt: skip


@pytest.mark.parametrize('name', ['relative', 'link', 'links', 'hard links'])
def test_other_names_of_the_images(tmp_path, monkeypatch, name):
    root, other = tmp_path / 'data', tmp_path / 'other'
    for part in ('images', 'd'):
        (root / part).mkdir(parents=True)
        for i in range(4):
            pixels = np.zeros((8, 8, 3)[: 3 if part == 'images' else 2])
            picture = Image.fromarray(pixels.astype(np.uint8))
            picture.save(root / part / f'{i}.png')
    if name == 'relative':
        monkeypatch.chdir(tmp_path)
        other = 'data'
    elif name == 'link':
        other.symlink_to(root)
    else:
        for file in root.glob('*/*.png'):
            link = other / file.relative_to(root)
            link.parent.mkdir(parents=True, exist_ok=True)
            if name == 'links':
                link.symlink_to(file)
            else:
                link.hardlink_to(file)
    mask = dict(protocol='budget', budget=1)
    train = folder(root, partial_labels=mask)
    with pytest.raises(ValueError, match='by 3 labels'):
        check(train, folder(other))


def test_what_another_part_shows_is_not_hidden():
    """Of two data sets of the same images, each with a mask."""
    parts = [scenes(partial_labels=MASK), scenes(partial_labels='full')]
    assert check(MultiTaskConcatDataset(parts), scenes('val')) == 0
    parts[1] = scenes(partial_labels=dict(protocol='one-label', seed=2))
    rows = [part.label_mask.labelled for part in parts]
    twice = sum(rows[1][sample] == row for sample, row in rows[0].items())
    assert 0 < twice < 8
    with pytest.raises(ValueError, match=rf'by {twice} labels.*seed=1\), .*2'):
        check(MultiTaskConcatDataset(parts), scenes())


def test_what_is_allowed():
    train = scenes('train', partial_labels=MASK)
    assert check(train, scenes('val', partial_labels=MASK)) == 0
    # Its number is told, for the checkpoint.
    assert check(train, scenes('val', partial_labels='full')) == 2
    check(train, scenes(split='val'))
    check(train, scenes(seed=1))
    check(scenes('train'), scenes('val'))
    check(scenes('train', partial_labels='full'), scenes('val'))
    check(object(), object())
