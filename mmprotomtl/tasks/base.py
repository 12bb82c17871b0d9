"""What a dense-prediction task is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmprotomtl.utils.errors import DataFileError, check_choice
from mmprotomtl.utils.files import write_file

from .explained import Explained
from .implied import Implied
from .output import OutputInfo

#: Whose way of scoring: ours, or that of a line of published tables.
PROTOCOLS = ('default', 'invpt', 'mtinet', 'mtpsl')

#: The colour of pixels without a label where black is a value: PASCAL VOC's.
UNLABELLED = (224, 224, 192)


class Task(Explained, Implied, ABC):
    """All that a task's name means, asked by every stage of the pipeline.

    A label is canonical when :meth:`check_label` returned it: an array ``H x
    W`` (``H x W x L`` with ``L = label_channels > 1``) of ``label_dtype`` in
    which pixels without a label hold ``invalid``. Batched, it is a tensor
    ``N x L x H x W``. Data sets hand canonical labels on; transforms, model,
    evaluator and visualizer ask the task for everything they do to them.

    A new task is a subclass in a file of its own, registered in ``TASKS``, and
    a line of a config's ``tasks``. Class attributes say what the task is, the
    methods how it is learnt, scored and drawn. Required are
    :attr:`metric_directions`, :attr:`default_metric` and the abstract methods;
    a class that lacks one of them is refused when the task is built.

    Args:
        name: Its key in the config's ``tasks``; also the name of its losses,
            metrics and predictions.
        loss_weight: Factor of the loss; None: ``default_weight``.
        metric: Which of the task's metrics stands for it (in ``delta_m``, for
            choosing checkpoints); None: ``default_metric``. It becomes
            :attr:`standing_metric`.
        measures: Configs of registered measures that score it; None: the
            task's own, see :meth:`measure_cfgs`.

    Raises:
        ValueError: ``metric`` is none of the task's.
        TypeError: The class lacks ``metric_directions`` or
            ``default_metric``.
    """

    #: Channels of a label.
    label_channels: ClassVar[int] = 1
    #: Type of a label in the data pipeline.
    label_dtype: ClassVar[type] = np.uint8
    #: The value of a pixel without a label, in every channel.
    invalid: ClassVar[float] = 255
    #: What a label's values are: ``class`` (exact numbers), ``binary`` (yes or
    #: no) or ``measure`` (a quantity, which a lossy picture may hold).
    label_kind: str = 'class'
    #: How a label is resized together with its image.
    interpolation: ClassVar[int] = cv2.INTER_NEAREST
    #: How a label is fitted to its image where their sizes on disk differ.
    fit_interpolation: ClassVar[int] = cv2.INTER_NEAREST
    #: The loss weight that the field uses.
    default_weight: ClassVar[float] = 1.0
    #: Metric -> whether a higher value is a better one.
    metric_directions: ClassVar[Mapping[str, bool]] = {}
    #: The metric that stands for the task, unless a config names another.
    default_metric: ClassVar[str] = ''
    #: Arguments that say what a label's values mean. Model and data sets have
    #: to agree on them; weights and scores are the run's choice.
    label_settings: ClassVar[Sequence[str]] = ()
    #: Arguments that say how labels are shown: names, colours, scale. Data
    #: sets know them, and a checkpoint hands them on.
    shown_settings: ClassVar[Sequence[str]] = ()

    def __init__(
        self,
        name: str,
        loss_weight: float | None = None,
        metric: str | None = None,
        measures: list[dict[str, Any]] | None = None,
    ) -> None:
        if self.default_metric not in self.metric_directions:
            # `metrics` is what metric_directions was called before.
            raise TypeError(
                f'tasks.{name}: {type(self).__name__} is no complete task: '
                "metric_directions={'RMSE': False, ...} says for each metric "
                'whether a higher value is better, and default_metric names '
                'one of them'
            )
        self.name = name
        self.loss_weight = (
            self.default_weight if loss_weight is None else float(loss_weight)
        )
        self.standing_metric = metric or self.default_metric
        check_choice(
            f'tasks.{name}.metric',
            self.standing_metric,
            sorted(self.metric_directions),
        )
        self.own_measures = measures

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.name!r})'

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """Names of the arguments that a config may give: those of the class,
        and those of its parents where it hands ``**kwargs`` on to them.
        """
        names: dict[str, None] = {}
        for part in cls.__mro__:
            if '__init__' not in vars(part):
                continue
            _, *arguments = signature(
                vars(part)['__init__']
            ).parameters.items()
            names.update(
                dict.fromkeys(
                    name
                    for name, argument in arguments
                    if argument.kind
                    not in (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
                )
            )
            if all(a.kind != Parameter.VAR_KEYWORD for _, a in arguments):
                break
        return tuple(name for name in names if name != 'name')

    # -- what the network gives ------------------------------------------

    @property
    @abstractmethod
    def out_channels(self) -> int:
        """Channels that the prediction head gives."""

    @property
    def higher_is_better(self) -> bool:
        """Direction of :attr:`standing_metric`."""
        return self.metric_directions[self.standing_metric]

    def meaning(self) -> dict[str, object]:
        """What the values of a label mean: setting -> value, None where
        nothing is said.

        Data sets and model have to agree on it.
        """
        own = {key: getattr(self, key) for key in self.label_settings}
        return dict(type=type(self).__name__, **own)

    # -- labels ----------------------------------------------------------

    def check_label(self, label: np.ndarray, path: str) -> np.ndarray:
        """Make a label that a data set read canonical, or refuse it.

        Args:
            label: ``H x W`` or ``H x W x L``, as the data set's reader gave
                it: in the task's unit, unlabelled pixels ``invalid``.
            path: Its file, for the error.

        Returns:
            The canonical label.

        Raises:
            DataFileError: Shape or values cannot be those of this task.
        """
        if label.dtype.kind not in 'biuf':
            raise DataFileError(
                path,
                f'values of type {label.dtype}; a label of task '
                f'{self.name!r} is made of numbers',
            )
        if label.ndim == 3 and label.shape[2] == 1:
            label = label[..., 0]
        expected = 2 if self.label_channels == 1 else 3
        channels = label.shape[2:] or (1,)
        if label.ndim != expected or channels != (self.label_channels,):
            raise DataFileError(
                path,
                f'shape {label.shape}; a label of task {self.name!r} is '
                f'H x W x {self.label_channels}',
            )
        if not label.size:
            raise DataFileError(path, f'an empty array, {label.shape}')
        # What a cast to a smaller type can't hold is judged, not warned of.
        with np.errstate(invalid='ignore', over='ignore'):
            return self.check_values(label, path)

    @abstractmethod
    def check_values(self, label: np.ndarray, path: str) -> np.ndarray:
        """The part of :meth:`check_label` that is about values."""

    def value_map(
        self, flip: str | None = None, angle: float = 0.0, scale: float = 1.0
    ) -> np.ndarray | None:
        """What a change of the image's geometry does to a pixel's value.

        Moving the pixels is not the task's business; this is the linear map
        that goes with it. The image is mirrored first and turned then.

        Args:
            flip: ``horizontal``, ``vertical``, ``diagonal`` (both) or None.
            angle: Counter-clockwise turn of the image in degrees.
            scale: Zoom of the camera, > 1 enlarges what is seen.

        Returns:
            An ``L x L`` matrix to multiply each pixel's value by, or None for
            no change. ``invalid`` has to be a fixed point of it.
        """
        del flip, angle, scale
        return None

    def resize_label(
        self,
        label: np.ndarray,
        size: tuple[int, int],
        interpolation: int | None = None,
    ) -> np.ndarray:
        """Resize a canonical label.

        Args:
            label: ``H x W`` or ``H x W x L``.
            size: Height and width of the result.
            interpolation: One of OpenCV's; None: :attr:`interpolation`.
                Whole numbers are classes and are never mixed: they are taken
                from the nearest pixel, whatever is asked.

        Returns:
            The resized label. No value is mixed with that of a pixel without
            a label, see :func:`resize_known`.
        """
        if label.shape[:2] == tuple(size):
            return label
        if interpolation is None:
            interpolation = self.interpolation
        if label.dtype.kind != 'f' and interpolation not in NEAREST:
            interpolation = cv2.INTER_NEAREST
        return resize_known(label, size, interpolation, self.invalid)

    def valid(self, label: Tensor) -> Tensor:
        """Which pixels carry a label.

        Args:
            label: ``N x L x H x W``.

        Returns:
            Bool, ``N x H x W``.
        """
        return label[:, 0] != self.invalid

    def largest_share(self, label: np.ndarray) -> float | None:
        """How much of a window one class fills, for a crop that avoids such.

        Args:
            label: A canonical label, or a part of one.

        Returns:
            The share of the commonest class of the labelled pixels, 1 where
            none is labelled; None: the task minds no window.
        """
        del label
        return None

    # -- checking a data set ---------------------------------------------

    def describe(self, label: np.ndarray, raw: np.ndarray) -> dict[str, Any]:
        """Statistics of one label, for :meth:`summarise`.

        Args:
            label: The canonical label.
            raw: The array that it was made of by :meth:`check_label`.
        """
        del raw
        batch = torch.from_numpy(np.ascontiguousarray(label))
        batch = batch.reshape(*label.shape[:2], -1).permute(2, 0, 1)[None]
        valid = self.valid(batch)
        return dict(valid=int(valid.sum()), pixels=valid.numel())

    def summarise(self, described: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Statistics of a data set's labels, plain values only.

        Args:
            described: What :meth:`describe` said of each, at least one.
        """
        pixels = sum(item['pixels'] for item in described)
        valid = sum(item['valid'] for item in described)
        return dict(valid=valid / pixels)

    def plausible(self, summary: dict[str, Any]) -> list[str]:
        """What in a summary makes one doubt the data; empty: nothing."""
        return [] if summary['valid'] else ['no pixel of any label is valid']

    # -- learning --------------------------------------------------------

    @abstractmethod
    def loss(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """The unweighted loss of each image.

        Args:
            logits: ``N x C x H x W``, at the label's size.
            label: ``N x L x H x W``.

        Returns:
            The mean over the valid pixels of each image, ``N`` (0 where there
            is none), and their number, ``N``.
        """

    @abstractmethod
    def predict(self, logits: Tensor) -> Tensor:
        """What the user gets: ``N x C x H x W`` to ``N x P x H x W``."""

    def undo_view(
        self, logits: Tensor, flip: str | None, scale: float
    ) -> Tensor:
        """Take back what a changed view of the image did to the values.

        Args:
            logits: ``N x C x H x W`` of the view; its pixels are back in
                place.
            flip: As in :meth:`value_map`.
            scale: As in :meth:`value_map`.

        Raises:
            ValueError: The logits are no values of the task, so that it has
                to say itself what a view does to them.
        """
        matrix = self.value_map(flip=flip, scale=scale)
        if matrix is None:
            return logits
        if logits.shape[1] != self.label_channels:
            raise ValueError(
                f'tasks.{self.name}: {type(self).__name__} gives '
                f'{logits.shape[1]} logits for a value of '
                f'{self.label_channels}; test-time augmentation needs its own '
                'undo_view'
            )
        inverse = torch.from_numpy(np.linalg.inv(matrix)).to(logits)
        return torch.einsum('kc,nchw->nkhw', inverse, logits)

    def output_info(self) -> OutputInfo:
        """What the values of a prediction are; by default nothing is said."""
        return OutputInfo()

    # -- evaluation and drawing ------------------------------------------

    def measure_cfgs(self, protocol: str = 'default') -> list[dict[str, Any]]:
        """Configs of the measures that score the task.

        Args:
            protocol: One of :data:`PROTOCOLS`; the task's ``measures`` setting
                goes before it.
        """
        check_choice('protocol', protocol, PROTOCOLS)
        if self.own_measures is not None:
            return [dict(measure) for measure in self.own_measures]
        if protocol == 'default':
            return self.default_measures()
        return self.protocol_measures(protocol)

    @abstractmethod
    def default_measures(self) -> list[dict[str, Any]]:
        """Configs of the measures that the field scores the task by."""

    def protocol_measures(self, protocol: str) -> list[dict[str, Any]]:
        """The measures of a line of published tables, where they differ.

        Args:
            protocol: One of :data:`PROTOCOLS` but ``default``.
        """
        del protocol
        return self.default_measures()

    def save(self, value: np.ndarray, stem: str) -> str:
        """Save a prediction ``P x H x W`` and return the file.

        The default is a float32 array ``P x H x W``, ``stem`` + ``.npy``.
        """
        path = f'{stem}.npy'
        write_file(path, lambda file: np.save(file, value.astype(np.float32)))
        return path

    @abstractmethod
    def draw(self, value: np.ndarray) -> np.ndarray:
        """Draw a label or a prediction.

        Args:
            value: ``L x H x W`` or ``P x H x W``.

        Returns:
            RGB picture, ``H x W x 3`` uint8; pixels without a label differ
            from all others: black, or :data:`UNLABELLED` where black is a
            value.
        """


#: OpenCV's interpolations that mix no pixels.
NEAREST = (cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT)
#: Interpolation -> by how many pixels it reaches beyond the two, left and
#: right, that a linear one takes.
_REACH = {cv2.INTER_CUBIC: 1, cv2.INTER_LANCZOS4: 3}


def resize_known(
    values: np.ndarray,
    size: tuple[int, int],
    interpolation: int,
    invalid: float,
) -> np.ndarray:
    """Resize an array in which some pixels have no value.

    A pixel of the result is interpolated where all pixels that it is made of
    have a value. Elsewhere it is the nearest pixel, with or without a value.

    Args:
        values: ``H x W`` or ``H x W x L``, floating point if it is to be
            interpolated.
        size: Height and width of the result.
        interpolation: One of OpenCV's.
        invalid: What pixels without a value hold, in all channels.
    """
    target = (size[1], size[0])
    if interpolation in NEAREST:
        return cv2.resize(values, target, interpolation=interpolation)
    unknown = np.isnan(values) if np.isnan(invalid) else values == invalid
    if values.ndim == 3:
        unknown = unknown.all(-1)
    if not unknown.any():
        return cv2.resize(values, target, interpolation=interpolation)
    # Where the weights of the linear (or, for the mean of an area, the same)
    # interpolation of this map are not zero, an unknown pixel takes part.
    spread = unknown.astype(np.float32)
    reach = _REACH.get(interpolation, 0)
    if reach:
        side = 2 * reach + 1
        spread = cv2.dilate(spread, np.ones((side, side), np.uint8))
    is_area = interpolation == cv2.INTER_AREA
    touched = cv2.resize(
        spread,
        target,
        interpolation=cv2.INTER_AREA if is_area else cv2.INTER_LINEAR,
    )
    # NaN must not reach the sums of known pixels.
    filled = np.where(
        unknown[..., None], 0, values.reshape(*unknown.shape, -1)
    )
    smooth = cv2.resize(
        filled.reshape(values.shape).astype(values.dtype),
        target,
        interpolation=interpolation,
    )
    nearest = cv2.resize(values, target, interpolation=cv2.INTER_NEAREST_EXACT)
    mixed = touched > 0
    if values.ndim == 3:
        mixed = mixed[..., None]
        smooth = smooth.reshape(*touched.shape, -1)
        nearest = nearest.reshape(*touched.shape, -1)
    return np.where(mixed, nearest, smooth)


def apply_value_map(
    label: np.ndarray, matrix: np.ndarray | None
) -> np.ndarray:
    """Apply :meth:`Task.value_map` to a canonical label ``H x W [x L]``."""
    if matrix is None:
        return label
    matrix = matrix.astype(label.dtype)
    mapped: np.ndarray = (
        label * matrix[0, 0] if label.ndim == 2 else label @ matrix.T
    )
    return mapped


def save_gray(value: np.ndarray, stem: str) -> str:
    """Save ``H x W`` uint8 as ``stem`` + ``.png`` and return the file."""
    path = f'{stem}.png'
    picture = Image.fromarray(value.astype(np.uint8))
    write_file(path, lambda file: picture.save(file, 'PNG'))
    return path


def masked_mean(value: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of each image over its valid pixels.

    Args:
        value: ``N x H x W``; may hold anything, NaN too, where not valid.
        valid: Bool, ``N x H x W``.

    Returns:
        The means, ``N`` (0 where nothing is valid), and the counts, ``N``.
    """
    count = valid.flatten(1).sum(1)
    total = torch.where(valid, value, value.new_zeros(())).flatten(1).sum(1)
    return total / count.clamp(min=1), count
