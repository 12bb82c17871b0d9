"""Pictures of labels and predictions, task by task."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.visualization import Visualizer
from torch import Tensor

from mmprotomtl.registry import VISUALIZERS
from mmprotomtl.structures import MultiTaskDataSample, content_box
from mmprotomtl.tasks import Task, build_tasks
from mmprotomtl.utils.files import output_path, write_bytes

_HEADER = 18


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
    """Draws an image, its labels and its predictions side by side.

    A column for each task, as the task draws itself: above the label (grey
    where there is none), below the prediction.

    Args:
        name: Name of the instance, for mmengine's manager.
        tasks: As in a config's ``tasks``, or task objects. None: those of the
            model, which a run hands over (:class:`TaskCheckHook`), else those
            of ``dataset_meta``.
        **kwargs: See :class:`mmengine.visualization.Visualizer`.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        tasks: Mapping[str, Mapping[str, Any] | Task] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, **kwargs)
        self._given = tasks is not None
        self._tasks = None if tasks is None else build_tasks(tasks)

    def take_tasks(self, tasks: Mapping[str, Task]) -> None:
        """Draw these tasks, the model's, unless others were given."""
        if not self._given:
            self._tasks = dict(tasks)

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks that are drawn."""
        if self._tasks is None:
            self._tasks = build_tasks(self.dataset_meta['tasks'])
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
            rows.append(('label', data_sample.gt_maps))
        if draw_pred and 'pred_maps' in data_sample:
            rows.append(('prediction', data_sample.pred_maps))
        meta, size = data_sample.metainfo, image.shape[:2]
        if tuple(meta.get('img_shape', ())) == size:
            top, left, height, width = content_box(meta, size)
            image = image[top : top + height, left : left + width]
        picture = self.compose(image, rows)
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            write_picture(out_file, picture)
        else:
            # Backends name files so.
            self.add_image(str(output_path('', name)), picture, step)

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
        rows: list[tuple[Any, ...]],
        opacity: float = 1.0,
    ) -> np.ndarray:
        """The picture: the image, and a row for each (title, maps).

        Args:
            image: RGB, ``H x W x 3``.
            rows: Titles and maps.
            opacity: Share of the drawn map in its cell, 0 .. 1; the rest is
                the image.

        Returns:
            RGB, uint8.
        """
        shapes = [m.shape[-2:] for _, maps in rows for m in maps.values()] or [
            image.shape[:2]
        ]
        height, width = shapes[0]
        first = cv2.resize(
            np.ascontiguousarray(image), (width, height),
            interpolation=cv2.INTER_AREA,
        )  # fmt: skip
        lines = []
        for number, (title, maps) in enumerate(rows or [('', {})]):
            empty = np.full_like(first, 255)
            cells = [_titled(first if number == 0 else empty, title)]
            for name, task in self.tasks.items():
                value = maps.get(name)
                drawn = np.full_like(first, 128)
                if value is not None:
                    drawn = task.draw(_array(value))
                    if opacity < 1:
                        drawn = cv2.addWeighted(
                            drawn, opacity, first, 1 - opacity, 0
                        )
                cells.append(_titled(drawn, name))
            lines.append(np.hstack(cells))
        return np.vstack(lines)


def _array(value: Tensor | np.ndarray) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def _titled(picture: np.ndarray, title: str) -> np.ndarray:
    """The picture below a line of text."""
    header = np.full((_HEADER, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(
        header, title, (3, _HEADER - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42,
        (0, 0, 0), 1, cv2.LINE_AA,
    )  # fmt: skip
    return np.vstack([header, picture])
