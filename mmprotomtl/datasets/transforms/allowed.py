"""Decide which transforms of other packages are allowed in a pipeline.

Transforms of mmcv, mmseg and mmpretrain do not change ``gt_maps``: if one
moves the pixels of the image, the labels stay where they were. Such transforms
are refused when the pipeline is built. Transforms that only change colours are
allowed, and so are all transforms of the user.
"""

from collections.abc import Iterator, Sequence

#: Packages whose transforms do not change ``gt_maps``.
FOREIGN = (
    'mmcv', 'mmseg', 'mmpretrain', 'mmcls', 'mmdet', 'mmdet3d', 'mmpose',
    'mmrotate', 'mmyolo', 'mmocr', 'mmaction', 'mmagic', 'mmedit',
    'torchvision',
)  # fmt: skip
#: Transforms of these packages that do not move pixels; they are allowed.
IN_PLACE = frozenset(
    (
        # mmcv
        'ImageToTensor', 'LoadAnnotations', 'LoadImageFromFile', 'Normalize',
        'RandomGrayscale', 'ToTensor',
        # mmseg
        'AdjustGamma', 'BioMedicalGaussianBlur', 'BioMedicalGaussianNoise',
        'BioMedicalRandomGamma', 'CLAHE', 'LoadImageFromNDArray',
        'PhotoMetricDistortion', 'RGB2Gray', 'RandomCutOut', 'Rerange',
        # mmpretrain
        'AutoContrast', 'Brightness', 'ColorJitter', 'ColorTransform',
        'Contrast', 'Cutout', 'Equalize', 'GaussianBlur', 'Invert',
        'Lighting', 'NumpyToPIL', 'PILToNumpy', 'Posterize', 'RandomErasing',
        'Sharpness', 'Solarize', 'SolarizeAdd',
        # torchvision, in mmpretrain's wrapper
        'Grayscale', 'RandomAdjustSharpness', 'RandomAutocontrast',
        'RandomEqualize', 'RandomInvert', 'RandomPosterize',
        'RandomSolarize',
    )
)  # fmt: skip
#: Wrappers of these packages; the transforms inside them are checked.
WRAPPERS = frozenset(
    (
        'ApplyToList', 'AutoAugment', 'Compose', 'KeyMapper', 'MultiView',
        'RandAugment', 'RandomApply', 'RandomChoice', 'RandomChoiceResize',
        'RandomResize', 'ResizeShortestEdge', 'TorchVisonTransformWrapper',
        'TransformBroadcaster',
    )
)  # fmt: skip
#: Refused transform -> what to use instead, for the error message.
OURS = {
    'CenterCrop': 'MultiTaskRandomCrop',
    'EfficientNetCenterCrop': 'MultiTaskRandomCrop',
    'EfficientNetRandomCrop': 'MultiTaskRandomScaleCrop',
    'MultiScaleFlipAug': 'the setting model.test_cfg.tta',
    'Pad': 'MultiTaskPad',
    'RandomChoiceResize': 'MultiTaskRandomScale',
    'RandomCrop': 'MultiTaskRandomCrop',
    'RandomFlip': 'MultiTaskRandomFlip',
    'RandomHorizontalFlip': 'MultiTaskRandomFlip',
    'RandomResize': 'MultiTaskRandomScale',
    'RandomResizedCrop': 'MultiTaskRandomScaleCrop',
    'RandomRotFlip': 'MultiTaskRandomRotate and MultiTaskRandomFlip',
    'RandomRotate': 'MultiTaskRandomRotate',
    'RandomRotation': 'MultiTaskRandomRotate',
    'RandomVerticalFlip': 'MultiTaskRandomFlip',
    'Resize': 'MultiTaskResize',
    'ResizeEdge': 'MultiTaskResize',
    'ResizeShortestEdge': 'MultiTaskResize',
    'ResizeToMultiple': 'MultiTaskResize or MultiTaskPad',
    'Rotate': 'MultiTaskRandomRotate',
    'TestTimeAug': 'the setting model.test_cfg.tta',
}
#: Our transforms that move pixels at random. Labels must be loaded before.
AT_RANDOM = {
    'MultiTaskCutMix',
    'MultiTaskRandomCrop',
    'MultiTaskRandomFlip',
    'MultiTaskRandomRotate',
    'MultiTaskRandomScale',
    'MultiTaskRandomScaleCrop',
}
LOADER = 'LoadMultiTaskAnnotations'


def check_pipeline(steps: Sequence) -> None:
    """Refuse a pipeline in which labels would no longer fit the image.

    Args:
        steps: Built transforms.

    Raises:
        ValueError: A transform of another package moves pixels, or a random
            transform of ours moves pixels before the labels are loaded.
    """
    moved = None
    for step in _flat(steps):
        names = {kind.__name__ for kind in type(step).__mro__}
        if _package(type(step)) in FOREIGN:
            if type(step).__name__ not in IN_PLACE:
                raise ValueError(_refusal(step))
        elif names & AT_RANDOM:
            moved = moved or type(step).__name__
        elif LOADER in names and moved:
            raise ValueError(
                f'pipeline: {moved} comes before {LOADER}: the labels would '
                f'not move with the image; put {LOADER} in front of it'
            )


def _package(kind: type) -> str:
    return kind.__module__.partition('.')[0]


def _flat(steps: Sequence) -> Iterator[object]:
    """Yield all transforms; wrappers are replaced by their content."""
    for step in steps:
        inner = _inner(step)
        if inner is None:
            yield step
        else:
            yield from _flat(inner)


def _inner(step: object) -> Sequence | None:
    """Return the transforms in a wrapper; None if it is not a wrapper."""
    if isinstance(step, (list, tuple)):
        return step
    if not any(
        kind.__name__ in WRAPPERS and _package(kind) in (*FOREIGN, 'mmengine')
        for kind in type(step).__mro__
    ):
        return None
    # mmcv's wrappers that draw a random size contain one resize transform.
    resize = getattr(step, 'resize', None)
    if resize is not None:
        return None if _package(type(resize)) in FOREIGN else [resize]
    found = getattr(step, 'transforms', None)
    if found is None:
        found = getattr(step, 't', None)
    return found if isinstance(found, (list, tuple)) else [found]


def _refusal(step: object) -> str:
    name, package = type(step).__name__, _package(type(step))
    text = (
        f'pipeline: {name} of {package} is not allowed: it moves the pixels '
        'of the image, or may do so, and leaves the labels of the tasks where '
        'they are'
    )
    if name in OURS:
        return f'{text}; use {OURS[name]}'
    return (
        f'{text}; write a transform of your own that changes '
        "results['gt_maps'] too (docs/own_data.md)"
    )
