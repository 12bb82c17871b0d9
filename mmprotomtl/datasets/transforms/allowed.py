"""Which transforms of other packages may be in a pipeline.

Those of mmcv, mmseg and mmpretrain know nothing of ``gt_maps``: what moves the
pixels of the image leaves the labels where they were. They are refused when
the pipeline is built. What changes colours only is allowed, and so is any
transform of a user's own.
"""

from collections.abc import Iterator, Sequence

#: Packages whose transforms know nothing of the labels of several tasks.
FOREIGN = (
    'mmcv', 'mmseg', 'mmpretrain', 'mmcls', 'mmdet', 'mmdet3d', 'mmpose',
    'mmrotate', 'mmyolo', 'mmocr', 'mmaction', 'mmagic', 'mmedit',
    'torchvision',
)  # fmt: skip
#: Their transforms that leave each pixel in its place.
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
#: Their wrappers, which do what the transforms in them do.
WRAPPERS = frozenset(
    (
        'ApplyToList', 'AutoAugment', 'Compose', 'KeyMapper', 'MultiView',
        'RandAugment', 'RandomApply', 'RandomChoice', 'RandomChoiceResize',
        'RandomResize', 'ResizeShortestEdge', 'TorchVisonTransformWrapper',
        'TransformBroadcaster',
    )
)  # fmt: skip
#: A transform of theirs -> what to take instead.
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
#: Ours that move pixels at random: labels have to be loaded before.
AT_RANDOM = {
    'MultiTaskRandomCrop',
    'MultiTaskRandomFlip',
    'MultiTaskRandomRotate',
    'MultiTaskRandomScale',
    'MultiTaskRandomScaleCrop',
}
LOADER = 'LoadMultiTaskAnnotations'


def check_pipeline(steps: Sequence) -> None:
    """Refuse a pipeline in which image and labels would part.

    Args:
        steps: Built transforms.

    Raises:
        ValueError: One of another package moves pixels, or one of ours does
            so at random before the labels are loaded.
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
    """The transforms, and instead of a wrapper those in it."""
    for step in steps:
        inner = _inner(step)
        if inner is None:
            yield step
        else:
            yield from _flat(inner)


def _inner(step: object) -> Sequence | None:
    """What a wrapper wraps; None: it is none."""
    if isinstance(step, (list, tuple)):
        return step
    if not any(
        kind.__name__ in WRAPPERS and _package(kind) in (*FOREIGN, 'mmengine')
        for kind in type(step).__mro__
    ):
        return None
    # mmcv's wrappers that draw a size have one resizing transform in them.
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
        return f'{text}; take {OURS[name]}'
    return (
        f'{text}; write a transform of your own that changes '
        "results['gt_maps'] too (docs/own_data.md)"
    )
