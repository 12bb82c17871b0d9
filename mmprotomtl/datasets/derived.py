"""Labels that follow from the visible labels of other tasks."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from mmprotomtl.tasks import Task
from mmprotomtl.utils.camera import Camera
from mmprotomtl.utils.errors import DataFileError

#: Task -> the tasks of whose labels its own follow, the first one first.
Sources = Mapping[str, Sequence[str]]


def find_sources(
    tasks: Mapping[str, Task],
    setting: bool | str | Sequence[str],
    has_camera: bool,
    source: str,
) -> dict[str, list[str]]:
    """Find out which labels follow from which.

    Args:
        tasks: Tasks of the data set.
        setting: ``derived_labels``: False (none), True (all that follow), or
            the names of the tasks whose labels are wanted.
        has_camera: Whether the camera's intrinsics are known.
        source: The data set, for the error.

    Returns:
        Task -> the tasks of whose labels its own follow.

    Raises:
        ValueError: A wanted label follows from none, or with True none does;
            the message says what is missing for each.
    """
    if setting is False or setting is None:
        return {}
    wanted = _wanted(tasks, setting)
    found: dict[str, list[str]] = {}
    lacking = {}
    for name in wanted:
        task = tasks[name]
        blocked = task.cannot_derive()
        reasons = [f'missing is {blocked}'] if blocked else []
        for other in tasks.values():
            implied = other.implies(has_camera)
            if other is task or task.made_of not in implied:
                continue
            lacks = implied[str(task.made_of)]
            if lacks:
                reasons.append(f'from {other.name}: missing is {lacks}')
            elif not blocked:
                found.setdefault(name, []).append(other.name)
        if name not in found:
            why = '; '.join(reasons) or 'no task of the run implies it'
            lacking[name] = f'{name} ({why})'
    if not found or (setting is not True and lacking):
        raise ValueError(
            f'derived_labels={setting!r} is not allowed for {source}: no '
            f'label follows for {", ".join(lacking.values())}'
        )
    return found


def _wanted(
    tasks: Mapping[str, Task], setting: bool | str | Sequence[str]
) -> list[str]:
    """The names that ``derived_labels`` asks for."""
    if setting is True:
        return list(tasks)
    names = [setting] if isinstance(setting, str) else setting
    if not isinstance(names, Sequence) or not all(
        isinstance(name, str) for name in names
    ):
        raise ValueError(
            f'derived_labels={setting!r} is not allowed: choose True, False '
            f'or a list of some of {list(tasks)}'
        )
    for name in names:
        if name not in tasks:
            raise ValueError(
                f'derived_labels names {name!r}, which is none of the tasks '
                f'{list(tasks)}'
            )
    return list(names)


def sources_of(labelled: Collection[str], sources: Sources) -> dict[str, str]:
    """Which labels of one image are derived, and of which visible label.

    Args:
        labelled: Tasks of the image's visible labels.
        sources: What :func:`find_sources` returned.

    Returns:
        Task -> the task of whose label its own is made. A task with a visible
        label is not among them.
    """
    found = {}
    for name, others in sources.items():
        visible = [other for other in others if other in labelled]
        if visible and name not in labelled:
            found[name] = visible[0]
    return found


def camera_at(results: Mapping) -> Camera | None:
    """The camera of an image at its size on disk; None: unknown.

    Args:
        results: The sample, with ``camera``, ``image`` and ``ori_shape``.

    Raises:
        DataFileError: The camera is that of images of other proportions.
    """
    camera: Camera | None = results.get('camera')
    try:
        return camera and camera.at(results['ori_shape'])
    except ValueError as error:
        raise DataFileError(results['image'].path, str(error)) from None


def derive(
    sources: Mapping[str, str],
    tasks: Mapping[str, Task],
    labels: Mapping[str, np.ndarray],
    camera: Camera | None,
) -> dict[str, np.ndarray]:
    """Make the labels of one image that follow from its visible ones.

    Args:
        sources: What :func:`sources_of` returned.
        tasks: Tasks of the data set.
        labels: Task -> canonical label, the visible ones.
        camera: Of an image of the labels' size; None: unknown.

    Returns:
        Task -> canonical label, those that are derived.
    """
    made = {}
    for name, source in sources.items():
        task = tasks[name]
        implied = tasks[source].imply(
            str(task.made_of), labels[source], camera
        )
        path = f'label derived from {source}'
        made[name] = task.check_label(task.derive(implied), path)
    return made
