"""Convert the official file of NYU-Depth V2 to the layouts for training."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmprotomtl.datasets.nyuv2 import CAMERA, NYUv2Dataset
from mmprotomtl.tasks.normals import unit_vectors
from mmprotomtl.utils.camera import normals_from_depth
from mmprotomtl.utils.edges import label_edges
from mmprotomtl.utils.errors import DataFileError, check_choice
from mmprotomtl.utils.files import write_text

from .nyuv2_classes import NUM_LABELS, forty_classes, thirteen_classes
from .nyuv2_files import SIZE, check_mat, opened_mat, read_splits
from .output import Job, convert, report_counts, resize

#: Top, bottom, left, right of the region that both cameras see. Outside it,
#: images are white and depth is extrapolated.
CROP = (45, 471, 41, 601)
#: Layout -> part of a sample -> file name.
FORMS: dict[str, dict[str, str]] = dict(
    mtan=dict(
        label='{split}/label/{i}.npy',
        depth='{split}/depth/{i}.npy',
        normal='{split}/normal/{i}.npy',
        image='{split}/image/{i}.npy',
    ),
    nyudv2=dict(
        segmentation='segmentation/{frame:04d}.png',
        depth='depth/{frame:04d}.npy',
        normals='normals/{frame:04d}.png',
        edge='edge/{frame:04d}.png',
        images='images/{frame:04d}.png',
    ),
)
#: Variables of the official file: depth with holes filled, and raw depth.
DEPTHS = ('depths', 'rawDepths')


class Plan(NamedTuple):
    """Settings of a conversion.

    Attributes:
        mat: The official file.
        form: Output layout, a key of :data:`FORMS`.
        size: Height and width of the result in pixels; None: those of the
            crop.
        crop: Top, bottom, left, right in pixels; None: the whole frame.
        depth: Name of the variable with depth.
        classes: Table from label 0 .. 894 to a class of the layout,
            0 = unlabelled.
    """

    mat: str
    form: str
    size: tuple[int, int] | None
    crop: tuple[int, int, int, int] | None
    depth: str
    classes: np.ndarray


def read_frame(plan: Plan, frame: int) -> dict[str, np.ndarray]:
    """Read one frame of the official file, transposed upright and cropped.

    Args:
        plan: Settings of the conversion.
        frame: Number of the frame, counted from 1.

    Returns:
        ``image`` ``H x W x 3`` uint8; ``depth`` ``H x W`` float32 in metres,
        0 = unknown; ``label`` ``H x W``, 0 .. 894.

    Raises:
        DataFileError: The file is damaged or has a label above 894.
    """
    file = opened_mat(plan.mat)
    arrays = {}
    for name, key in (
        ('image', 'images'), ('depth', plan.depth), ('label', 'labels'),
    ):  # fmt: skip
        try:
            arrays[name] = file[key][frame - 1].T
        except (OSError, RuntimeError) as error:
            raise DataFileError(
                plan.mat, f'{key} of frame {frame} is damaged ({error})'
            ) from error
    if arrays['label'].max() > NUM_LABELS:
        raise DataFileError(
            plan.mat,
            f'frame {frame} has label {arrays["label"].max()}; labels are 0 '
            f'.. {NUM_LABELS}',
        )
    depth = arrays['depth'].astype(np.float32)
    usable = np.isfinite(depth) & (depth > 0)
    arrays['depth'] = np.where(usable, depth, np.float32(0))
    if plan.crop:
        top, bottom, left, right = plan.crop
        arrays = {k: v[top:bottom, left:right] for k, v in arrays.items()}
    return {k: np.ascontiguousarray(v) for k, v in arrays.items()}


def make_sample(
    plan: Plan, frame: int, parts: Sequence[str]
) -> Mapping[str, np.ndarray]:
    """Make the wanted arrays of a frame, ready to be written to files.

    Args:
        plan: Settings of the conversion.
        frame: Number of the frame, counted from 1.
        parts: Keys of the layout in :data:`FORMS`.
    """
    arrays = read_frame(plan, frame)
    image = resize(arrays['image'], plan.size, mixed=True)
    depth = resize(arrays['depth'], plan.size)
    classes = resize(plan.classes[arrays['label']], plan.size)
    normal = np.zeros((*depth.shape, 3), np.float32)
    if 'normal' in parts or 'normals' in parts:
        camera = CAMERA.cropped(*plan.crop) if plan.crop else CAMERA
        normal = normals_from_depth(arrays['depth'], camera)
        normal = unit_vectors(resize(normal, plan.size, mixed=True))
    if plan.form == 'mtan':
        made: dict[str, np.ndarray] = dict(
            image=image.astype(np.float32) / 255,
            label=classes.astype(np.float32) - 1,
            depth=depth[..., None],
            normal=normal.astype(np.float32),
        )
    else:
        made = dict(
            images=image,
            segmentation=classes,
            depth=depth,
            normals=np.round((normal + 1) * 127.5).astype(np.uint8),
            edge=np.where(label_edges(classes), 255, 0).astype(np.uint8),
        )
    return {part: made[part] for part in parts}


def convert_nyuv2(
    mat: str | Path,
    splits: str | Path,
    out: str | Path,
    form: str = 'mtan',
    size: tuple[int, int] | None = None,
    crop: tuple[int, int, int, int] | None = CROP,
    depth: str = 'depths',
    class_map: str | None = None,
    class_map13: str | None = None,
    workers: int | None = None,
) -> None:
    """Convert the official file to a layout that a data set class reads.

    Args:
        mat: Path of ``nyu_depth_v2_labeled.mat``.
        splits: Path of ``splits.mat``.
        out: Output folder. Complete files of an interrupted conversion are
            kept.
        form: Output layout. ``mtan``: 13 classes, 3 tasks, for
            :class:`NYUv2Dataset`; ``nyudv2``: 40 classes, 4 tasks, for
            :class:`NYUDv2Dataset`.
        size: Height and width in pixels; None: those of the crop.
        crop: Top, bottom, left, right in pixels; None: the whole frame.
        depth: ``depths`` (holes filled) or ``rawDepths`` (as measured).
        class_map: Path of ``classMapping40.mat``; None: the built-in table.
        class_map13: Path of ``class13Mapping.mat``; None: the built-in table.
        workers: Number of processes; None: one per CPU core.

    Raises:
        ValueError: A setting is not allowed.
        DataFileError: A file is not the official one, or it is damaged.
    """
    check_choice('form', form, FORMS)
    check_choice('depth', depth, DEPTHS)
    top, bottom, left, right = crop or (0, SIZE[0], 0, SIZE[1])
    if not (0 <= top < bottom <= SIZE[0] and 0 <= left < right <= SIZE[1]):
        raise ValueError(
            f'crop={crop} is not allowed: choose top < bottom <= {SIZE[0]} '
            f'and left < right <= {SIZE[1]}'
        )
    classes = forty_classes(class_map)
    number = check_mat(str(mat), depth, classes)
    frames = read_splits(str(splits), number)
    published = NYUv2Dataset.PUBLISHED
    report_counts({s: len(f) for s, f in frames.items()}, published)
    if form == 'mtan':
        classes = thirteen_classes(class_map13)[classes]
    plan = Plan(str(mat), form, size, crop, depth, classes)
    jobs = [
        Job(
            frame,
            {
                part: Path(out, file.format(split=split, i=i, frame=frame))
                for part, file in FORMS[form].items()
            },
        )
        for split, numbers in frames.items()
        for i, frame in enumerate(numbers)
    ]
    record = dict(
        data_set='NYU-Depth V2', form=form, size=size, crop=crop, depth=depth,
        bytes=Path(mat).stat().st_size, images=frames,
        classes=hashlib.sha256(classes.tobytes()).hexdigest(),
    )  # fmt: skip
    try:
        convert(out, jobs, partial(make_sample, plan), record, workers)
    finally:
        opened_mat.cache_clear()
    if form == 'nyudv2':
        # The id lists are written last, so that an incomplete conversion is
        # refused when the data set is loaded.
        for split, numbers in frames.items():
            text = ''.join(f'{frame:04d}\n' for frame in numbers)
            write_text(Path(out, 'gt_sets', f'{split}.txt'), text)
