"""Read images and the labels that are not hidden."""

import numpy as np
from mmcv.transforms import BaseTransform

from mmprotomtl.readers import DataFile, check_size
from mmprotomtl.registry import TRANSFORMS
from mmprotomtl.tasks import Task
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
    """Read the image.

    Required keys: ``image``. Added keys: ``img`` (BGR uint8, as mmcv's and
    mmseg's transforms expect it), ``img_path``, ``img_shape``, ``ori_shape``.
    """

    def transform(self, results: dict) -> dict:
        """Read ``results['image']``.

        Raises:
            DataFileError: It cannot be read or is no RGB image.
        """
        file = results['image']
        image = load_image(file)
        results['img'] = np.ascontiguousarray(image[..., ::-1])
        results['img_path'] = file.path
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadMultiTaskAnnotations(BaseTransform):
    """Read the labels that are not hidden, and nothing else.

    In a test pipeline it comes after the resizing of the image: predictions
    are compared with labels of the original size.

    Required keys: ``labels``, ``tasks``. Added keys: ``gt_maps``, task ->
    canonical label (:class:`mmprotomtl.tasks.Task`). A label whose size is
    not that of its image on disk is resized to it (:func:`check_size`).
    ``gt_shape``, where the image had another size by then: that of the
    labels, which :class:`PackMultiTaskInputs` expects.
    """

    def transform(self, results: dict) -> dict:
        """Read ``results['labels']``.

        Raises:
            DataFileError: A label cannot be read or is not one of its task.
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
        results['gt_maps'] = maps
        image = results.get('img')
        if image is not None and image.shape[:2] != results['ori_shape']:
            results['gt_shape'] = results['ori_shape']
        return results


def check_stored(task: Task, file: DataFile, stored: np.ndarray) -> np.ndarray:
    """The canonical label of what a file holds.

    Raises:
        DataFileError: It is no label of the task; says with which settings it
            was read.
    """
    try:
        return task.check_label(stored, file.path)
    except DataFileError as error:
        # Files of other kinds, such as a rendered scene, have no settings.
        explain = getattr(file, 'explained', None)
        raise (explain(error) if explain else error) from None
