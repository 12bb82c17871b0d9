"""Load images, and the labels that the label mask does not hide."""

import numpy as np
from mmcv.transforms import BaseTransform

from mmprotomtl.datasets.derived import camera_at, derive
from mmprotomtl.readers import DataFile, check_size
from mmprotomtl.registry import TRANSFORMS
from mmprotomtl.tasks import Task, needs_rays
from mmprotomtl.utils.errors import DataFileError


def load_image(file: DataFile) -> np.ndarray:
    """Read an image: RGB, ``H x W x 3`` uint8.

    Raises:
        DataFileError: It cannot be read or is no RGB image.
    """
    image = file.load()
    if image.dtype.kind not in 'biuf':
        raise DataFileError(file.path, f'values of type {image.dtype}')
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataFileError(
            file.path, f'shape {image.shape}; an image is H x W x 3'
        )
    if image.dtype == np.uint8:
        return image
    if not (np.isfinite(image).all() and image.min() >= 0):
        raise DataFileError(file.path, 'values outside 0 .. 1')
    if image.max() > 1 + 1e-3:
        raise DataFileError(
            file.path,
            f'values up to {image.max():.4g}; a floating-point image has '
            'values in 0 .. 1',
        )
    return (image * 255).round().clip(0, 255).astype(np.uint8)


@TRANSFORMS.register_module()
class LoadMultiTaskImage(BaseTransform):
    """Load the image.

    Required keys: ``image``. Added keys: ``img`` (``H x W x 3`` uint8 in BGR
    order, which mmcv's and mmseg's transforms expect), ``img_path``,
    ``img_shape`` and ``ori_shape`` (height and width).
    """

    def transform(self, results: dict) -> dict:
        """Load ``results['image']``.

        Raises:
            DataFileError: The file cannot be read or is not an RGB image.
        """
        file = results['image']
        image = load_image(file)
        results['img'] = np.ascontiguousarray(image[..., ::-1])
        results['img_path'] = file.path
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadMultiTaskAnnotations(BaseTransform):
    """Load the labels that the label mask does not hide.

    In a test pipeline, put it after the transforms that resize the image:
    predictions are then compared with labels of the original size.

    A data set with ``derived_labels`` adds labels that follow from these, see
    :mod:`mmprotomtl.datasets.derived`. They are made here, from labels of the
    image's size on disk, before any transform changes it.

    Required keys: ``labels``, ``tasks``, ``ori_shape``; optional: ``derived``
    (task -> the task of whose visible label its own is made) and ``camera``.
    Added keys:
    ``gt_maps``, task -> canonical label (:class:`mmprotomtl.tasks.Task`) of
    size ``ori_shape``; labels of another resolution are resized, see
    :func:`check_size`. Where a task has a use for them, ``rays``, see
    :meth:`mmprotomtl.utils.camera.Camera.rays`. If the image has already been
    resized, also ``gt_shape``, the size of the labels for
    :class:`PackMultiTaskInputs`.
    """

    def transform(self, results: dict) -> dict:
        """Load ``results['labels']``.

        Raises:
            DataFileError: A label cannot be read, or its values are not valid
                for its task.
        """
        maps = {}
        for name, task in results['tasks'].items():
            file = results['labels'].get(name)
            if file is None:
                continue
            label = check_stored(task, file, file.load())
            check_size(label, results['ori_shape'], file.path)
            maps[name] = task.resize_label(
                label, results['ori_shape'], task.fit_interpolation
            )
        camera = camera_at(results)
        sources = results.get('derived', {})
        maps.update(derive(sources, results['tasks'], maps, camera))
        results['gt_maps'] = maps
        if camera is not None and needs_rays(results['tasks']):
            results['rays'] = camera.rays()
        image = results.get('img')
        if image is not None and image.shape[:2] != results['ori_shape']:
            results['gt_shape'] = results['ori_shape']
        return results


def check_stored(task: Task, file: DataFile, stored: np.ndarray) -> np.ndarray:
    """Convert the content of a label file to the task's canonical label.

    Args:
        task: The task.
        file: The label file.
        stored: The array that was read from it.

    Raises:
        DataFileError: The values are not valid for the task; the message has
            the settings with which the file was read.
    """
    try:
        return task.check_label(stored, file.path)
    except DataFileError as error:
        # Other kinds of files, such as rendered scenes, have no settings.
        explain = getattr(file, 'explained', None)
        raise (explain(error) if explain else error) from None
