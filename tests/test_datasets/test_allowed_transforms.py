"""Transforms that know nothing of the labels are refused; see also packing."""

import mmpretrain.datasets  # noqa: F401  (registers its transforms)
import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

from mmprotomtl.datasets import SyntheticScenesDataset
from mmprotomtl.datasets.transforms import (
    MultiTaskResize,
    PackMultiTaskInputs,
)
from mmprotomtl.datasets.transforms.allowed import check_pipeline
from mmprotomtl.registry import TRANSFORMS
from tests.test_datasets.test_transforms import LOAD, scene

PACK = dict(type='PackMultiTaskInputs')
FLIP = dict(type='mmcv.RandomFlip', prob=0.5)
COLOURS = dict(type='mmseg.PhotoMetricDistortion')
#: A transform of another package -> what the error names.
REFUSED = {
    'mmcv flip': (FLIP, 'RandomFlip of mmcv.*MultiTaskRandomFlip'),
    'mmseg flip': (
        dict(type='mmseg.RandomFlip', prob=0.5), 'MultiTaskRandomFlip',
    ),
    'without a prefix': (
        dict(type='RandomFlip', prob=0.5), 'MultiTaskRandomFlip',
    ),
    'rotate': (
        dict(type='mmseg.RandomRotate', prob=1, degree=9),
        'MultiTaskRandomRotate',
    ),
    'rotate and flip': (
        dict(type='RandomRotFlip', rotate_prob=1), 'MultiTaskRandomRotate',
    ),
    'mmcv resize': (
        dict(type='mmcv.Resize', scale=(40, 30)), 'MultiTaskResize',
    ),
    'mmseg resize': (
        dict(type='mmseg.Resize', scale=(40, 30)), 'MultiTaskResize',
    ),
    'random resize': (
        dict(type='RandomResize', scale=(40, 30), ratio_range=(1, 2)),
        'RandomResize of mmcv.*MultiTaskRandomScale',
    ),
    'choice of sizes': (
        dict(type='RandomChoiceResize', scales=[(40, 30)]),
        'RandomChoiceResize.*MultiTaskRandomScale',
    ),
    'shortest edge': (
        dict(type='ResizeShortestEdge', scale=30, max_size=60),
        'ResizeShortestEdge.*MultiTaskResize',
    ),
    'multiple': (dict(type='ResizeToMultiple'), 'MultiTaskResize'),
    'mmseg crop': (
        dict(type='mmseg.RandomCrop', crop_size=(20, 20)),
        'MultiTaskRandomCrop',
    ),
    'mmpretrain crop': (
        dict(type='mmpretrain.RandomCrop', crop_size=20),
        'RandomCrop of mmpretrain.*MultiTaskRandomCrop',
    ),
    'resized crop': (
        dict(type='mmpretrain.RandomResizedCrop', scale=20),
        'MultiTaskRandomScaleCrop',
    ),
    'centre crop': (
        dict(type='mmcv.CenterCrop', crop_size=20), 'MultiTaskRandomCrop',
    ),
    'pad': (dict(type='mmcv.Pad', size=(90, 90)), 'MultiTaskPad'),
    'mosaic': (
        dict(type='mmseg.RandomMosaic', prob=1), "results\\['gt_maps'\\]",
    ),
    'shear': (dict(type='mmpretrain.Shear', magnitude=0.2), 'Shear'),
    'torchvision': (
        dict(type='mmpretrain.torchvision/RandomHorizontalFlip'),
        'MultiTaskRandomFlip',
    ),
    'a policy': (
        dict(type='mmpretrain.AutoAugment', policies=[
            [dict(type='mmpretrain.Posterize', bits=4)],
            [dict(type='mmpretrain.Rotate', angle=9)],
        ]), 'Rotate of mmpretrain.*MultiTaskRandomRotate',
    ),
    'in RandomApply': (
        dict(type='RandomApply', transforms=[COLOURS, FLIP]),
        'MultiTaskRandomFlip',
    ),
    'in RandomChoice': (
        dict(type='RandomChoice', transforms=[[COLOURS], [FLIP]]),
        'MultiTaskRandomFlip',
    ),
    'in KeyMapper': (
        dict(type='KeyMapper', mapping=dict(img='img'), transforms=[FLIP]),
        'MultiTaskRandomFlip',
    ),
    'in two wrappers': (
        dict(type='mmcv.Compose', transforms=[
            dict(type='RandomApply', transforms=[FLIP])
        ]), 'MultiTaskRandomFlip',
    ),
    'views of a test': (
        dict(type='mmcv.TestTimeAug', transforms=[[FLIP]]),
        'model.test_cfg.tta',
    ),
}  # fmt: skip
ALLOWED = {
    'distortion': COLOURS,
    'CLAHE': dict(type='CLAHE'),
    'gamma': dict(type='AdjustGamma'),
    'grey': dict(type='RandomGrayscale'),
    'cut out': dict(
        type='RandomCutOut', prob=1, n_holes=1, cutout_shape=(9, 9)
    ),
    'blur': dict(type='mmpretrain.GaussianBlur', radius=1),
    'jitter': dict(type='mmpretrain.ColorJitter', brightness=0.1),
    'torchvision colours': dict(
        type='mmpretrain.torchvision/ColorJitter', brightness=0.1
    ),
    'in wrappers': dict(
        type='RandomChoice',
        transforms=[
            [dict(type='RandomApply', transforms=[COLOURS])],
            [dict(type='MultiTaskRandomFlip', prob=0.5)],
        ],
    ),
    'random sizes by our Resize': dict(
        type='RandomResize', scale=(40, 30), ratio_range=(1, 2),
        resize_type='MultiTaskResize',
    ),
}  # fmt: skip


def dataset(*steps):
    with DefaultScope.overwrite_default_scope('mmprotomtl'):
        return SyntheticScenesDataset(
            size=(60, 80), num_scenes=1, pipeline=[*LOAD, *steps, PACK]
        )


@pytest.mark.parametrize('case', REFUSED)
def test_what_moves_pixels_is_refused(case):
    step, message = REFUSED[case]
    with pytest.raises(ValueError, match=f'pipeline: .*{message}'):
        dataset(step)


@pytest.mark.parametrize('case', ALLOWED)
def test_what_changes_colours_is_allowed(case):
    data = dataset(ALLOWED[case])
    if 'torchvision' not in case:
        sample = data[0]['data_samples']
        assert sample.gt_maps.shape == tuple(sample.metainfo['img_shape'])


def test_transforms_of_a_user():
    """Even one that is derived from mmcv's, as ours are."""

    class Own(MultiTaskResize):
        pass

    class Plain(BaseTransform):
        def transform(self, results):
            return results

    steps = [Own(scale=(40, 30)), Plain(), lambda results: results]
    assert dataset(*steps)[0]['inputs'].shape == (3, 30, 40)
    check_pipeline([Compose(steps)])
    inner = TRANSFORMS.build(FLIP)
    with pytest.raises(ValueError, match='RandomFlip of mmcv'):
        check_pipeline([Compose([*steps, Compose([inner])])])


@pytest.mark.parametrize(
    'step',
    [
        dict(type='MultiTaskRandomFlip', prob=0.5),
        dict(type='MultiTaskRandomCrop', crop_size=(20, 20)),
        dict(type='MultiTaskRandomScale'),
        dict(type='MultiTaskRandomScaleCrop'),
        dict(type='MultiTaskRandomRotate', prob=1, degree=9),
    ],
)
def test_random_moves_come_after_the_labels(step):
    with pytest.raises(ValueError, match='LoadMultiTaskAnnotations in front'):
        SyntheticScenesDataset(pipeline=[LOAD[0], step, LOAD[1], PACK])


def test_labels_of_another_size_are_not_packed():
    results = scene()
    results['img'] = results['img'][:30]
    message = r"label of '\w+' of sample '2' is 60 x 80.*expected 30 x 80"
    with pytest.raises(ValueError, match=message):
        PackMultiTaskInputs()(results)
    results = scene()
    results['gt_maps']['depth'] = results['gt_maps']['depth'][:, 1:]
    message = r"label of 'depth' of sample '2' is 60 x 79.*expected 60 x 80"
    with pytest.raises(ValueError, match=message):
        PackMultiTaskInputs()(results)


@pytest.mark.parametrize(
    'step',
    [
        dict(type='MultiTaskResize', scale=(40, 30)),
        dict(type='MultiTaskPad', size_divisor=64),
        dict(type='MultiTaskPad', size_divisor=20),
    ],
)
def test_labels_of_a_test_keep_the_size_on_disk(step):
    data = SyntheticScenesDataset(
        size=(60, 80), num_scenes=1, pipeline=[LOAD[0], step, LOAD[1], PACK]
    )
    assert data[0]['data_samples'].gt_maps.shape == (60, 80)
    # Padded once more, they would be of neither size.
    pad = dict(type='MultiTaskPad', size_divisor=96)
    data = SyntheticScenesDataset(
        size=(60, 80),
        num_scenes=1,
        pipeline=[LOAD[0], dict(type='MultiTaskResize', scale=(40, 30)),
                  LOAD[1], pad, PACK],
    )  # fmt: skip
    with pytest.raises(ValueError, match='expected 60 x 80'):
        data[0]


@pytest.mark.parametrize('size', [(60, 80), (80, 60), (50, 120)])
def test_shapes_are_kept(size):
    """Photographs of many shapes are not stretched unless it is said."""
    data = SyntheticScenesDataset(
        size=size, num_scenes=1,
        pipeline=[*LOAD, dict(type='MultiTaskResize', scale=(40, 30)), PACK],
    )  # fmt: skip
    item = data[0]
    height, width = item['inputs'].shape[1:]
    assert height / width == pytest.approx(size[0] / size[1], rel=0.05)
    assert max(height, width) <= 40 and min(height, width) <= 30
    assert item['data_samples'].gt_maps.shape == (height, width)
    image = np.zeros((*size, 3), np.uint8)
    stretch = MultiTaskResize(scale=(40, 30), keep_ratio=False)
    assert stretch(dict(img=image, tasks={}))['img'].shape == (30, 40, 3)
