"""A box of another image with its labels."""

import numpy as np
import pytest
import torch.utils.data
from mmengine.dataset import pseudo_collate
from mmengine.runner.runner import _SlicedDataset
from torch.utils.data import DataLoader

from mmprotomtl.datasets import (
    MultiTaskCutMix,
    SeededIndex,
    SyntheticScenesDataset,
)
from mmprotomtl.engine.task_check_hook import TaskCheckHook
from mmprotomtl.label_masks import LabelMask, write_label_mask
from mmprotomtl.registry import TRANSFORMS

SIZE = (24, 32)
TASKS = dict(depth={}, normals={}, semseg=dict(num_classes=7))
LOAD = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
]
MIX = dict(type='MultiTaskCutMix', prob=1.0, area=(0.2, 0.5))
INVALID = dict(depth=0, normals=0, semseg=255)


@pytest.fixture
def scenes(tmp_path):
    def build(rows, pipeline=(*LOAD, MIX), **kwargs):
        path = tmp_path / f'{len(list(tmp_path.iterdir()))}.json'
        rows = {str(i): row for i, row in enumerate(rows)}
        write_label_mask(path, LabelMask(rows, list(TASKS), 'by hand'))
        return SyntheticScenesDataset(
            size=SIZE, num_scenes=len(rows), tasks=TASKS,
            pipeline=list(pipeline), partial_labels=str(path), **kwargs,
        )  # fmt: skip

    return build


def same(one, other):
    """Pixels where two arrays are equal."""
    equal = one == other
    return equal if equal.ndim == 2 else equal.all(-1)


ROWS = [['depth'], ['depth', 'normals'], ['semseg'], ['normals', 'semseg'], []]


def test_every_pixel_comes_with_the_labels_of_its_image(scenes):
    """Where the image is that of another sample, so is every label, to
    the pixel; and there is none that its image does not have.
    """
    mixed, plain = scenes(ROWS), scenes(ROWS, LOAD)
    sources = [plain[i] for i in range(len(ROWS))]
    pairs = set()
    for i in range(len(ROWS)):
        for seed in range(12):
            sample = mixed[SeededIndex(i, seed)]
            kept = same(sample['img'], sources[i]['img'])
            found = [
                (j, same(sample['img'], other['img']))
                for j, other in enumerate(sources)
                if (kept | same(sample['img'], other['img'])).all()
            ]
            if i in [j for j, _ in found]:
                continue  # Its own box.
            ((j, taken),) = found
            pairs.add((i, j))
            box = ~kept
            rows, cols = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
            height, width = np.ptp(rows) + 1, np.ptp(cols) + 1
            assert 0.15 < height * width / kept.size < 0.55
            assert abs(width / height - 32 / 24) < 0.2
            assert set(sample['gt_maps']) == {*ROWS[i], *ROWS[j]}
            for name, label in sample['gt_maps'].items():
                for other, where in ((i, ~taken), (j, ~kept)):
                    theirs = sources[other]['gt_maps'].get(name)
                    if theirs is None:
                        assert (label[where] == INVALID[name]).all()
                    else:
                        assert np.array_equal(label[where], theirs[where])
                assert label.dtype == mixed.tasks[name].label_dtype
    assert len(pairs) > 12


def test_it_is_the_images_of_the_seed(scenes):
    """In any process; and other seeds give other boxes."""
    flip = [*LOAD, dict(type='MultiTaskRandomFlip', prob=0.5), MIX,
            dict(type='MultiTaskRandomFlip', prob=0.5),
            dict(type='PackMultiTaskInputs')]  # fmt: skip
    data = scenes(ROWS, flip)
    order = [SeededIndex(i % 5, seed) for seed in range(3) for i in range(5)]
    here = [data[index] for index in order]
    np.random.seed(77)
    loader = DataLoader(
        data, batch_size=1, sampler=order, num_workers=2,
        collate_fn=lambda batch: batch[0],
    )  # fmt: skip
    for one, other in zip(here, loader, strict=True):
        assert torch.equal(one['inputs'], other['inputs'])
        ours, theirs = (s['data_samples'].gt_maps for s in (one, other))
        assert set(ours.keys()) == set(theirs.keys())
        for name, label in ours.items():
            assert torch.equal(label, theirs.get(name))
    assert not torch.equal(here[0]['inputs'], here[5]['inputs'])


def test_how_often(scenes):
    data = scenes([[]] * 20, [*LOAD, dict(MIX, prob=0.3)])
    plain = scenes([[]] * 20, LOAD)
    same = sum(
        np.array_equal(
            data[SeededIndex(i, seed)]['img'], plain[SeededIndex(i, 0)]['img']
        )
        for i in range(20)
        for seed in range(10)
    )
    # 200 draws of .7 and a twentieth of the rest, three deviations either way.
    assert abs(same - 143) < 20


def test_a_transform_that_adds_a_label_is_still_found_out(scenes):
    class Adds:
        def __call__(self, results):
            results['gt_maps']['semseg'] = np.zeros(SIZE, np.uint8)
            return results

    data = scenes([['depth'], ['normals']], [*LOAD, MIX, Adds()])
    with pytest.raises(RuntimeError, match='added the label of semseg'):
        data[0]


def test_what_does_not_fit_is_refused(scenes):
    pad = dict(type='MultiTaskPad', size=(40, 40))
    with pytest.raises(ValueError, match='are padded: put it behind'):
        scenes(ROWS, [*LOAD, pad, MIX])[0]
    scale = dict(type='MultiTaskRandomScale', ratio_range=(0.5, 2))
    with pytest.raises(ValueError, match='pixels .height, width.: put it'):
        [scenes(ROWS, [*LOAD, scale, MIX])[i] for i in range(5)]
    with pytest.raises(ValueError, match='2 steps are MultiTaskCutMix'):
        scenes(ROWS, [*LOAD, MIX, MIX])
    with pytest.raises(ValueError, match='MultiTaskCutMix comes before'):
        scenes(ROWS, [LOAD[0], MIX, LOAD[1]])
    with pytest.raises(ValueError, match='fixed_views=2 is not allowed with'):
        scenes(ROWS, fixed_views=2)
    step = TRANSFORMS.build(MIX)
    hidden = dict(type='RandomApply', transforms=[step], prob=1.0)
    with pytest.raises(RuntimeError, match='inside no other transform'):
        scenes(ROWS, [*LOAD, hidden])[0]
    for wrong in (dict(prob=2), dict(area=(0.5, 0.2)), dict(area=(0, 0.5))):
        with pytest.raises(ValueError, match='MultiTaskCutMix'):
            TRANSFORMS.build(dict(MIX, **wrong))


def test_a_wrapper_that_leaves_images_out(scenes, monkeypatch):
    """Boxes would be cut from images that no number speaks of."""
    from types import SimpleNamespace as Space

    monkeypatch.setattr(TaskCheckHook, '_compare', lambda *_: None)

    def start(data):
        loader = DataLoader(data, collate_fn=pseudo_collate)
        log = Space(info=lambda _: None)
        TaskCheckHook().before_train(
            Space(
                iter=0,
                train_dataloader=loader,
                logger=log,
                model=Space(tasks={}),
            )
        )

    data = scenes(ROWS)
    start(data)
    start(scenes(ROWS, indices=3))
    start(torch.utils.data.Subset(scenes(ROWS, LOAD), [0, 2]))
    for part in (torch.utils.data.Subset(data, [0]), _SlicedDataset(data, 3)):
        with pytest.raises(ValueError, match='leaves out images.*indices'):
            start(part)


def test_text():
    text = repr(MultiTaskCutMix(0.25, (0.1, 0.3)))
    assert text == 'MultiTaskCutMix(prob=0.25, area=(0.1, 0.3))'
