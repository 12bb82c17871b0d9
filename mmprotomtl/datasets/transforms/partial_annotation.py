"""The label mask as a step of a pipeline."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

from mmcv.transforms import BaseTransform

from mmprotomtl.label_masks import PartialLabels
from mmprotomtl.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PartialAnnotation(BaseTransform):
    """Choose which labels are used; equivalent to ``partial_labels``.

    The data set removes this step from its pipeline when it is built, and
    applies the mask to its list of files. So the position of the step does not
    matter, and the path of a hidden label is in no sample. The step is not
    allowed inside another transform, where the data set would not find it.

    All arguments and errors are those of
    :class:`~mmprotomtl.label_masks.PartialLabels`.

    Args:
        mask_file: Path of a mask file.
        protocol: Name of a protocol.
        seed: Seed of the protocol.
        tasks: Tasks over which the protocol draws labels.
        **options: Settings of the protocol.

    Raises:
        ValueError: A setting is not allowed.
    """

    def __init__(
        self,
        mask_file: str | os.PathLike | None = None,
        protocol: str | None = None,
        seed: int | None = None,
        tasks: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        self.partial_labels = PartialLabels(
            mask_file, protocol, seed, tasks, **options
        )

    def transform(self, results: dict) -> dict:
        """Refuse to run; data sets of this package never call it.

        Raises:
            RuntimeError: Always. The mask of a single sample is not known, and
                its labels may have been read already.
        """
        raise RuntimeError(
            f'{self} hides no labels by itself: give it to a data set of '
            'mmprotomtl, as partial_labels or as a step of the pipeline that '
            'is inside no other transform'
        )

    def __repr__(self) -> str:
        return repr(self.partial_labels).replace(
            'PartialLabels', 'PartialAnnotation', 1
        )


def split_label_masks(
    steps: Sequence[Callable],
) -> tuple[list[Callable], list[PartialLabels]]:
    """Separate the label masks from the other steps of a pipeline.

    Args:
        steps: Built transforms.

    Returns:
        The other steps, and the settings of the :class:`PartialAnnotation`
        steps.

    Raises:
        ValueError: A :class:`PartialAnnotation` is inside another transform.
    """
    others, found = [], []
    for step in steps:
        if isinstance(step, PartialAnnotation):
            found.append(step.partial_labels)
            continue
        hidden = next(_inside(step), None)
        if hidden is not None:
            raise ValueError(
                f'{hidden} is inside {type(step).__name__}, where it cannot '
                "hide labels before they are read: put it into the data set's "
                'pipeline itself, or give it as partial_labels'
            )
        others.append(step)
    return others, found


def _inside(step: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """Find :class:`PartialAnnotation` inside another transform.

    All attributes are searched, because wrappers (``RandomApply``,
    ``Compose``, ``TestTimeAug``, ...) use different names; and so are the
    attributes of a user's own callables, what functions enclose, and configs
    that are not built yet.
    """
    seen = set() if seen is None else seen
    if id(step) in seen:
        return
    seen.add(id(step))
    for item in _held(step):
        if is_step(item, PartialAnnotation):
            yield item
        yield from _inside(item, seen)


def _held(step: Any) -> Iterable:
    """Return what a transform, or something inside it, consists of."""
    if isinstance(step, Mapping):
        return step.values()
    if isinstance(step, (list, tuple, set)):
        return step
    if isinstance(step, partial):
        return (step.func, step.args, step.keywords)
    if isinstance(step, MethodType):
        return (step.__self__,)
    if isinstance(step, FunctionType):
        return _enclosed(step)
    # Of objects that can be called, as transforms are.
    if isinstance(step, (type, ModuleType)) or not callable(step):
        return ()
    return getattr(step, '__dict__', {}).values()


def _enclosed(function: FunctionType) -> Iterator[Any]:
    """Yield what a function has from around it: closure and defaults."""
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # A variable that has no value yet.
            continue
    for name in function.__code__.co_names:
        if isinstance(function.__globals__.get(name), PartialAnnotation):
            yield function.__globals__[name]


def is_step(step: Any, *kinds: type) -> bool:
    """Whether a step of a pipeline is an instance of one of some classes.

    Args:
        step: A transform, or its config; ``type`` may have a scope
            (``mmprotomtl.PartialAnnotation``).
        *kinds: Classes of transforms.
    """
    kind = step.get('type') if isinstance(step, Mapping) else type(step)
    if isinstance(kind, str):
        kind = TRANSFORMS.get(kind)
    return isinstance(kind, type) and issubclass(kind, kinds)
