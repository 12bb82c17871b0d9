"""Pictures of labels and predictions, task by task."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dist import is_main_process
from mmengine.visualization import Visualizer
from mmengine.visualization.vis_backend import MLflowVisBackend
from torch import Tensor

from mmprotomtl.registry import VISUALIZERS
from mmprotomtl.structures import MultiTaskDataSample, content_box
from mmprotomtl.tasks import Task, build_tasks
from mmprotomtl.utils.drawing import GRAY, bar, notice, swatches
from mmprotomtl.utils.errors import check_choice
from mmprotomtl.utils.files import output_path, write_bytes

from .sheet import NARROWEST, Block, Sheet, lay_out, resized

#: Captions of the maps of a sample.
LABEL, PREDICTION, ERROR = 'label', 'prediction', 'error'
#: OpenCV's colours of errors: black where there is none.
_ERROR_COLOURS = cv2.COLORMAP_INFERNO


def write_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write an RGB picture atomically, in the format of the file's ending.

    Raises:
        OSError: See :func:`~mmprotomtl.utils.files.write_bytes`.
    """
    bgr = np.ascontiguousarray(picture[..., ::-1])
    done, content = cv2.imencode(Path(path).suffix, bgr)
    if not done:
        raise OSError(f'{path}: the picture cannot be encoded')
    write_bytes(path, content.tobytes())


#: Backends of matplotlib that draw into files and open no window.
_FILES_ONLY = ('agg', 'cairo', 'pdf', 'pgf', 'ps', 'svg', 'template')


def check_display() -> None:
    """Check that a window can be opened; mmengine would wait for one for ever.

    Raises:
        ValueError: There is no display.
    """
    import matplotlib.pyplot as plt  # Slow, and needed by nothing else.

    backend = str(plt.get_backend())
    linux = sys.platform.startswith('linux')
    named = any(os.environ.get(key) for key in ('DISPLAY', 'WAYLAND_DISPLAY'))
    in_page = 'inline' in backend or 'nb' in backend.lower()
    if backend.lower() in _FILES_ONLY or (linux and not named and not in_page):
        raise ValueError(
            'show=True: there is no display to open a window on (DISPLAY and '
            f'WAYLAND_DISPLAY are {"" if named else "not "}set, and '
            f"matplotlib's backend is {backend}); save the pictures instead, "
            'by out_dir (--out-dir, --show-dir)'
        )


@VISUALIZERS.register_module()
class MultiTaskLocalVisualizer(Visualizer):
    """Draws a photo and, for each task, its label and its prediction.

    The sheet is a grid of blocks: the photo, then a block for each task with
    the label above the prediction, as the task draws them, and the key of the
    task's colours (:meth:`Task.legend`) below. A gray cell says ``no label``
    where an image has none of a task.

    Args:
        name: Name of the instance, for mmengine's manager.
        tasks: As in a config's ``tasks``, or task objects. None: those of the
            model, which a run hands over (:class:`TaskCheckHook`), else those
            of ``dataset_meta``.
        columns: Blocks in a line of the grid; None: as many as fit.
        max_width: Of the sheet in pixels. Cells are made smaller to fit in.
        overlay: Opacity, 0 .. 1, with which maps are laid over the photo: a
            number for all tasks whose maps suit that
            (:attr:`Task.over_photo`), or task -> number. 0: the maps alone.
        errors: Whether a third cell shows where and how much a prediction is
            wrong (:meth:`Task.error`): of all tasks, of those listed, or of
            none. It needs label and prediction.
        legends: Whether keys are drawn.
        **kwargs: See :class:`mmengine.visualization.Visualizer`.

    Raises:
        ValueError: A setting is not allowed, or names a task that there is
            not (also from the methods, where tasks are handed over later).
    """

    def __init__(
        self,
        name: str = 'visualizer',
        tasks: Mapping[str, Mapping[str, Any] | Task] | None = None,
        columns: int | None = None,
        max_width: int = 1600,
        overlay: float | Mapping[str, float] = 0.0,
        errors: bool | Sequence[str] = False,
        legends: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, **kwargs)
        opacities = overlay if isinstance(overlay, Mapping) else {'': overlay}
        _check(
            'columns', columns, columns is None or columns >= 1, '1 or more'
        )
        least = (columns or 1) * 40
        _check('max_width', max_width, max_width >= least, f'{least} or more')
        for opacity in opacities.values():
            _check('overlay', overlay, 0 <= opacity <= 1, 'from 0 to 1')
        self.columns, self.max_width = columns, max_width
        self.overlay, self.errors, self.legends = overlay, errors, legends
        self._given = tasks is not None
        self._tasks: dict[str, Task] | None = None
        if tasks is not None:
            self._tasks = self._checked(build_tasks(tasks))

    def _checked(self, tasks: dict[str, Task]) -> dict[str, Task]:
        """Refuse settings of tasks that there are not."""
        for key in ('overlay', 'errors'):
            setting = getattr(self, key)
            if not isinstance(setting, bool | int | float):
                for name in setting:
                    check_choice(f'visualizer.{key}', name, sorted(tasks))
        return tasks

    def take_tasks(self, tasks: Mapping[str, Task]) -> None:
        """Draw these tasks, the model's, unless others were given."""
        if not self._given:
            self._tasks = self._checked(dict(tasks))

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks that are drawn."""
        if self._tasks is None:
            self._tasks = self._checked(
                build_tasks(self.dataset_meta['tasks'])
            )
        return self._tasks

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: MultiTaskDataSample,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        step: int = 0,
    ) -> None:
        """Draw a sample.

        Args:
            name: Title, and the file's name in the visualizer's backends.
            image: RGB, ``H x W x 3``; if it is the network's input, with
                padding, that is cut off.
            data_sample: With ``gt_maps``, ``pred_maps`` or both.
            draw_gt: Whether to draw the labels.
            draw_pred: Whether to draw the predictions.
            show: Whether to open a window.
            wait_time: Seconds that it stays, 0: until a key is pressed.
            out_file: Where to save the picture; None: only the backends do.
            step: Number of the training step, for the backends.
        """
        rows = []
        if draw_gt and 'gt_maps' in data_sample:
            rows.append((LABEL, data_sample.gt_maps))
        if draw_pred and 'pred_maps' in data_sample:
            rows.append((PREDICTION, data_sample.pred_maps))
        meta, size = data_sample.metainfo, image.shape[:2]
        if tuple(meta.get('img_shape', ())) == size:
            top, left, height, width = content_box(meta, size)
            image = image[top : top + height, left : left + width]
        caption = str(meta.get('sample_id', name))
        picture = self.compose(image, rows, caption)
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            write_picture(out_file, picture)
        else:
            # Backends name files so. They do not make folders: mmengine's
            # LocalVisBackend would write nothing and say nothing.
            path = output_path('', name)
            self.add_image('_'.join(path.parts), picture, step)

    def add_image(self, name: str, image: np.ndarray, step: int = 0) -> None:
        """Give a picture to all backends, by the first process.

        Args:
            name: Of the picture.
            image: RGB, uint8.
            step: Number of the training step.
        """
        for backend in (
            self._vis_backends.values() if is_main_process() else ()
        ):
            # MLflow takes the name of a file, with its format, and no step:
            # it would stop at other names, and keep the last picture only.
            is_file = isinstance(backend, MLflowVisBackend)
            title = f'{name}_{step}.png' if is_file else name
            backend.add_image(title, image, step)

    def show(self, *args: Any, **kwargs: Any) -> None:
        """Open a window, see :meth:`mmengine.visualization.Visualizer.show`.

        Raises:
            ValueError: See :func:`check_display`.
        """
        check_display()
        super().show(*args, **kwargs)

    def compose(
        self,
        image: np.ndarray,
        rows: Sequence[tuple[str, Any]],
        caption: str = '',
        opacity: float | None = None,
    ) -> np.ndarray:
        """The picture of :meth:`sheet`, RGB, uint8."""
        return self.sheet(image, rows, caption, opacity).picture

    def sheet(
        self,
        image: np.ndarray,
        rows: Sequence[tuple[str, Any]],
        caption: str = '',
        opacity: float | None = None,
    ) -> Sheet:
        """Draw the photo, and a cell for each task and each of ``rows``.

        Args:
            image: RGB, ``H x W x 3``; it gets the size of the maps.
            rows: Caption, such as ``label`` or ``prediction``, and maps: task
                -> ``L x H x W``.
            caption: Of the photo, such as its name.
            opacity: Share of the drawn map in the cells of all tasks, 0 .. 1;
                the rest is the photo. None: as ``overlay`` says.

        Returns:
            The picture, and where its cells are. The photo's is at ``'photo',
            caption``, those of a task at its name and the row's caption.
        """
        sizes = [m.shape[-2:] for _, maps in rows for m in maps.values()]
        height, width = sizes[0] if sizes else image.shape[:2]
        photo = cv2.resize(
            np.ascontiguousarray(image), (width, height),
            interpolation=cv2.INTER_AREA,
        )  # fmt: skip
        blocks = [Block('photo', [(caption, photo)])]
        if rows:
            blocks += [
                self._block(
                    task,
                    {title: _map(maps.get(name)) for title, maps in rows},
                    photo,
                    opacity,
                )
                for name, task in self.tasks.items()
            ]
        return lay_out(blocks, (height, width), self.columns, self.max_width)

    def _block(
        self,
        task: Task,
        maps: dict[str, np.ndarray | None],
        photo: np.ndarray,
        opacity: float | None,
    ) -> Block:
        """The maps of a task, their errors and their key."""
        known = [value for value in maps.values() if value is not None]
        keys: list[Callable[[int], np.ndarray]] = []
        if known:
            task = task.on_one_scale(known)
            keys.append(partial(task.legend, known))
        cells = []
        for title, value in maps.items():
            cell = self._empty(f'no {title}', photo)
            if value is not None:
                cell = self._over(task, task.draw(value), photo, opacity)
            cells.append((title, cell))
        if self._wants_errors(task.name) and {LABEL, PREDICTION} <= set(maps):
            error = _error(task, maps[PREDICTION], maps[LABEL])
            if error is None:
                cells.append((ERROR, self._empty('not known', photo)))
            else:
                cells.append((ERROR, _error_picture(error)))
                keys.append(partial(_error_key, task, error))
        return Block(task.name, cells, keys if self.legends else [])

    @staticmethod
    def _empty(words: str, photo: np.ndarray) -> np.ndarray:
        """A gray cell that says what is missing, legible when enlarged."""
        height, width = photo.shape[:2]
        factor = -(-NARROWEST // width)
        return notice(words, height * factor, width * factor)

    def _over(
        self,
        task: Task,
        drawn: np.ndarray,
        photo: np.ndarray,
        opacity: float | None,
    ) -> np.ndarray:
        """A map laid over the photo, where that is asked for."""
        if opacity is None:
            # Of these settings 0 means: not laid over it.
            if isinstance(self.overlay, Mapping):
                opacity = self.overlay.get(task.name, 0.0)
            else:
                opacity = self.overlay if task.over_photo else 0.0
            opacity = opacity or 1.0
        if opacity == 1:
            return drawn
        below = resized(photo, *drawn.shape[:2]).astype(np.float32)
        mixed = opacity * drawn + (1 - opacity) * below
        return mixed.round().astype(np.uint8)

    def _wants_errors(self, name: str) -> bool:
        if isinstance(self.errors, bool):
            return self.errors
        return name in self.errors


def _check(key: str, value: Any, allowed: bool, words: str) -> None:
    """Refuse a value of a setting."""
    if not allowed:
        raise ValueError(
            f'visualizer.{key}={value!r} is not allowed: choose {words}'
        )


def _map(value: Tensor | np.ndarray | None) -> np.ndarray | None:
    """A map as an array."""
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def _error(
    task: Task, pred: np.ndarray | None, label: np.ndarray | None
) -> np.ndarray | None:
    """The error of each pixel; None: of none it is known."""
    if pred is None or label is None:
        return None
    error = task.error(pred, label)
    known = error is not None and bool(np.isfinite(error).any())
    return error if known else None


def _worst(error: np.ndarray) -> float:
    """The largest error of a picture, the bright end of its colours."""
    return float(np.nanmax(error)) or 1.0


def _error_colours(levels: np.ndarray) -> np.ndarray:
    """RGB of levels 0 .. 1, ``H x W`` to ``H x W x 3``."""
    gray = (levels * 255).round().astype(np.uint8)
    return cv2.applyColorMap(gray, _ERROR_COLOURS)[..., ::-1]


def _error_picture(error: np.ndarray) -> np.ndarray:
    """From black, no error, to bright, the largest; gray: no label."""
    missing = np.isnan(error)
    picture = _error_colours(np.where(missing, 0, error) / _worst(error))
    return np.where(missing[..., None], np.uint8(GRAY), picture)


def _error_key(task: Task, error: np.ndarray, width: int) -> np.ndarray:
    """A bar of the errors, or right and wrong where there is nothing else."""
    if np.isin(error[np.isfinite(error)], (0, 1)).all():
        ends = _error_colours(np.array([[0.0, 1.0]]))[0]
        entries = [(ends[0], 'right'), (ends[1], 'wrong')]
        return swatches(entries, width)
    colours = _error_colours(np.linspace(0, 1, 128)[None])[0]
    high = f'{_worst(error):.3g} {task.error_unit}'.strip()
    return bar(colours, ('error 0', high), width)
