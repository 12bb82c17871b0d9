"""How an image becomes the input of a network, as its config says."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from mmprotomtl.datasets.transforms import (
    LoadMultiTaskAnnotations,
    LoadMultiTaskImage,
    MultiTaskPad,
    MultiTaskRandomScale,
    MultiTaskResize,
    PartialAnnotation,
)
from mmprotomtl.datasets.transforms.partial_annotation import is_step
from mmprotomtl.datasets.unwrap import leaf_datasets
from mmprotomtl.engine import checkpoint_meta
from mmprotomtl.loading.stored_config import read_stored_config
from mmprotomtl.registry import DATASETS

#: Longer side in pixels of the network's input where a config says nothing.
LARGEST_INPUT = 640


def stored_config(checkpoint: str, trust_checkpoint: bool = False) -> Config:
    """The config of the run that wrote a checkpoint.

    Args:
        checkpoint: The file.
        trust_checkpoint: Whether to execute the text as Python, as mmengine
            does it; else only plain values are read.

    Raises:
        ValueError: The checkpoint holds none, or one that would have to be
            executed, see
            :func:`mmprotomtl.loading.stored_config.read_stored_config`.
    """
    text = checkpoint_meta(checkpoint).get('cfg')
    if text is None:
        raise ValueError(
            f'{checkpoint} holds no config: give the config file as `model`'
        )
    if not trust_checkpoint:
        return read_stored_config(text, str(checkpoint))
    return Config.fromstring(text, file_format='.py')


def image_pipeline(cfg: Mapping) -> list[dict]:
    """The steps by which a config makes the network's input of an image.

    They are those of the test data set, or of the validation data set where
    there is no test; without the steps that read or hide labels.

    Args:
        cfg: The config of a run.

    Raises:
        ValueError: There is no such data set, or it consists of several that
            treat images differently.
    """
    loader, dataset = _test_data(cfg)
    found = {
        place: [
            step
            for step in part.get('pipeline') or []
            if not is_step(step, LoadMultiTaskAnnotations, PartialAnnotation)
        ]
        for place, part in leaf_datasets(dataset, f'{loader}.dataset')
    }
    (first, steps), *others = found.items()
    for place, other in others:
        if other != steps:
            raise ValueError(
                f'{first} and {place} treat images differently, so that it is '
                f'not clear how to prepare one: {steps} and {other}. Give all '
                'parts the same steps, or set test_dataloader.dataset to one '
                'of the parts'
            )
    return steps


def _test_data(cfg: Mapping) -> tuple[str, Any]:
    """The loader that says how images are prepared, and its data set."""
    for loader in ('test_dataloader', 'val_dataloader'):
        dataset = (cfg.get(loader) or {}).get('dataset')
        if dataset:
            return loader, dataset
    raise ValueError(
        'the config has neither test_dataloader nor val_dataloader: the '
        'pipeline of its data set says how an image is prepared for the '
        'network; add one of them'
    )


def resizes(steps: list[dict]) -> bool:
    """Whether a pipeline resizes its images itself."""
    kinds = (MultiTaskResize, MultiTaskRandomScale)
    return any(is_step(step, *kinds) for step in steps)


def _pair(value: Any) -> tuple[int, int] | None:
    """A height and a width, if it is two whole numbers."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return None
    if not all(isinstance(v, int) and v > 0 for v in value):
        return None
    return value[0], value[1]


def input_shape(cfg: Mapping, steps: list[dict]) -> tuple[int, int] | None:
    """Height and width that the images of a config's test data have as the
    network gets them; None: the config does not say.

    It is the ``scale`` of the pipeline's resizing, the ``size`` of its
    padding, that of scenes which are rendered, or the one that the data set is
    published with.

    Args:
        cfg: The config of a run, complete.
        steps: The steps of :func:`image_pipeline`.
    """
    for step in steps:
        if is_step(step, MultiTaskResize) and _pair(step.get('scale')):
            width, height = step['scale']
            return height, width
    for step in steps:
        if is_step(step, MultiTaskPad) and _pair(step.get('size')):
            return _pair(step['size'])
    loader, dataset = _test_data(cfg)
    for _, part in leaf_datasets(dataset, f'{loader}.dataset'):
        kind = part.get('type')
        kind = DATASETS.get(kind) if isinstance(kind, str) else kind
        found = _pair(part.get('size')) or getattr(kind, 'USUAL_SIZE', None)
        if found:
            return found
    return None


class FitInput:
    """Reduces an image to the size that a network was trained for.

    A photograph of 12 million pixels is many times what the network has seen,
    in memory and in the size of things. Smaller images stay as they are.

    Args:
        shape: Height and width that it has to fit into; whether it stands or
            lies makes no difference, unless ``strict``.
        strict: Whether the height and the width are those of a padding, which
            no image may exceed.
    """

    def __init__(self, shape: tuple[int, int], strict: bool) -> None:
        self.shape = shape
        self.strict = strict

    def __call__(self, results: dict) -> dict:
        """Reduce ``results['img']``; predictions keep ``ori_shape``."""
        size, bounds = results['img'].shape[:2], self.shape
        if not self.strict and (size[0] > size[1]) != (bounds[0] > bounds[1]):
            bounds = bounds[::-1]
        factor = min(b / s for b, s in zip(bounds, size, strict=True))
        if factor >= 1:
            return results
        height, width = (max(round(s * factor), 1) for s in size)
        resize = MultiTaskResize(scale=(width, height), keep_ratio=False)
        return resize(results)


def with_fit(
    cfg: Mapping, steps: list[dict], given: tuple[int, int] | None
) -> Iterator[Any]:
    """Yield the steps of a pipeline, with one that reduces large images where
    the pipeline resizes none.

    Args:
        cfg: The config of a run, complete.
        steps: Of :func:`image_pipeline`.
        given: Height and width that the user asks for; None: those of
            :func:`input_shape`, else :data:`LARGEST_INPUT`.

    Raises:
        ValueError: The user asks for a size, and the pipeline has one, or it
            is no height and width.
    """
    padded = any(is_step(step, MultiTaskPad) for step in steps)
    if given is not None and (resizes(steps) or padded):
        raise ValueError(
            f'input_size={given!r} is not allowed: the pipeline of the config '
            'resizes or pads images itself; set the size there '
            '(scale=... or size=... by cfg_options or in the config)'
        )
    if given is not None and _pair(given) is None:
        raise ValueError(
            f'input_size={given!r} is not allowed: give a height and a width '
            'in pixels, both above 0'
        )
    fit = None
    if not resizes(steps):
        fallback = (LARGEST_INPUT, LARGEST_INPUT)
        fit = FitInput(given or input_shape(cfg, steps) or fallback, padded)
    for step in steps:
        yield step
        if fit is not None and is_step(step, LoadMultiTaskImage):
            yield fit
