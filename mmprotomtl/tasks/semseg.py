"""Semantic segmentation."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from mmprotomtl.registry import TASKS
from mmprotomtl.utils.camera import Camera
from mmprotomtl.utils.drawing import swatches
from mmprotomtl.utils.edges import known_edges
from mmprotomtl.utils.errors import DataFileError

from .base import UNLABELLED, Task, masked_mean, save_gray
from .output import OutputInfo

#: Names of classes that are people.
PEOPLE = ('person', 'people', 'human', 'pedestrian', 'rider')


def class_colors(num_classes: int) -> np.ndarray:
    """Distinct RGB colours, ``num_classes x 3``: PASCAL VOC's bit pattern."""
    index = np.arange(num_classes)
    colors = np.zeros((num_classes, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            taken = (index >> (3 * bit + channel)) & 1
            colors[:, channel] |= (taken << (7 - bit)).astype(np.uint8)
    return colors


@TASKS.register_module(name='semseg')
class SemSegTask(Task):
    """A class for every pixel.

    Label: class 0 .. ``num_classes`` - 1, 255 = unlabelled. Loss:
    cross-entropy. Prediction: the class, ``1 x H x W``.

    Args:
        num_classes: Number of classes, at most 255.
        classes: Their names; None: their numbers.
        palette: Their RGB colours; None: PASCAL VOC's colour pattern.
    """

    metric_directions: ClassVar[Mapping[str, bool]] = {
        'mIoU': True,
        'pixAcc': True,
    }
    default_metric: ClassVar[str] = 'mIoU'
    label_settings: ClassVar[Sequence[str]] = ('num_classes', 'classes')
    shown_settings: ClassVar[Sequence[str]] = ('classes', 'palette')
    over_photo: ClassVar[bool] = True

    def __init__(
        self,
        num_classes: int,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 2 <= num_classes <= 255:
            raise ValueError(
                f'tasks.{self.name}.num_classes={num_classes} is not allowed: '
                'choose 2 .. 255 (255 marks a pixel without a label)'
            )
        for key, given in (('classes', classes), ('palette', palette)):
            if given is not None and len(given) != num_classes:
                raise ValueError(
                    f'tasks.{self.name}.{key} has {len(given)} entries for '
                    f'num_classes={num_classes}'
                )
        self.num_classes = num_classes
        # Two classes are a no and a yes.
        self.label_kind = 'binary' if num_classes == 2 else 'class'
        self._named = classes is not None
        self.classes = tuple(classes or map(str, range(num_classes)))
        self.palette = (
            class_colors(num_classes)
            if palette is None
            else np.asarray(palette, np.uint8)
        )

    @property
    def out_channels(self) -> int:
        """One logit a class."""
        return self.num_classes

    def meaning(self) -> dict[str, object]:
        """The classes, by their names if they have any."""
        named = self.classes if self._named else None
        return dict(super().meaning(), classes=named)

    def check_values(self, label: np.ndarray, path: str) -> np.ndarray:
        """Refuse what is neither a class nor 255."""
        if not np.isfinite(label).all():
            raise DataFileError(path, 'NaN or infinite where a class belongs')
        ids = label.astype(np.int64)
        wrong = ids != label
        wrong |= (ids != self.invalid) & (
            (ids < 0) | (ids >= self.num_classes)
        )
        if wrong.any():
            found = np.unique(label[wrong])[:8].tolist()
            raise DataFileError(
                path,
                f'label values {found} of task {self.name!r}; allowed are 0 '
                f'.. {self.num_classes - 1} and {self.invalid} (unlabelled)',
            )
        return ids.astype(np.uint8)

    def implies(self, has_camera: bool) -> Mapping[str, str]:
        """Boundaries between the classes, and where nobody is."""
        del has_camera
        lacks = '' if self._people() else f'a class {" or ".join(PEOPLE)}'
        return dict(boundaries='', people=lacks)

    def imply(
        self, what: str, label: np.ndarray, camera: Camera | None
    ) -> np.ndarray:
        """Compare neighbours, or look for the classes of people."""
        del camera
        if what == 'boundaries':
            return known_edges(label, int(self.invalid))
        unknown = label == self.invalid
        found = np.isin(label, self._people()).astype(np.uint8)
        return np.where(unknown, np.uint8(255), found)

    def _people(self) -> list[int]:
        """The classes that are people."""
        return [i for i, n in enumerate(self.classes) if n.lower() in PEOPLE]

    def largest_share(self, label: np.ndarray) -> float | None:
        """The share of the commonest class."""
        counts = np.bincount(label[label != self.invalid])
        return float(counts.max() / counts.sum()) if counts.size else 1.0

    def describe(self, label: np.ndarray, raw: np.ndarray) -> dict[str, Any]:
        """Add the number of pixels of each class."""
        counts = np.bincount(label.ravel(), minlength=256)
        counts = counts[: self.num_classes]
        return dict(super().describe(label, raw), counts=counts)

    def summarise(self, described: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Add the share of each class of all pixels of a class."""
        counts = sum(item['counts'] for item in described)
        share = counts / max(counts.sum(), 1)
        return dict(
            super().summarise(described),
            classes_seen=int((counts > 0).sum()),
            share={
                name: round(float(part), 6)
                for name, part in zip(self.classes, share, strict=True)
            },
        )

    def plausible(self, summary: dict[str, Any]) -> list[str]:
        """Every class is seen somewhere, and not one alone."""
        doubts = super().plausible(summary)
        unseen = [name for name, part in summary['share'].items() if not part]
        if summary['classes_seen'] == 1:
            doubts.append('all pixels are of one class')
        elif summary['classes_seen'] and unseen:
            doubts.append(f'classes never seen: {", ".join(unseen)}')
        return doubts

    def loss(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy, mean over each image's valid pixels."""
        return self.cross_entropy(logits, label, self.valid(label))

    def cross_entropy(
        self, logits: Tensor, label: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`loss`, over some pixels.

        Args:
            logits: ``N x C x H x W``.
            label: ``N x 1 x H x W``.
            valid: Which pixels, bool ``N x H x W``.
        """
        target = label[:, 0].long().masked_fill(~valid, self.invalid)
        loss = F.cross_entropy(
            logits, target, ignore_index=int(self.invalid), reduction='none'
        )
        return masked_mean(loss, valid)

    def predict(self, logits: Tensor) -> Tensor:
        """The likeliest class, ``N x 1 x H x W`` int64; -1, none, where a
        logit is NaN.
        """
        ids = logits.argmax(1, keepdim=True)
        return ids.masked_fill(logits.isnan().any(1, keepdim=True), -1)

    def output_info(self) -> OutputInfo:
        """Names and colours of the classes; -1, no class, has neither."""
        colors = [(int(r), int(g), int(b)) for r, g, b in self.palette]
        return OutputInfo('class', tuple(self.classes), tuple(colors))

    def default_measures(self) -> list[dict[str, Any]]:
        """MIoU and pixel accuracy."""
        return [
            dict(
                type='ClassOverlap',
                num_classes=self.num_classes,
                classes=self.classes,
            )
        ]

    def protocol_measures(self, protocol: str) -> list[dict[str, Any]]:
        """MTI-Net's and InvPT's line counts a class in neither labels nor
        predictions as an IoU of 0; MTAN's, which MTPSL is of, leaves it out.
        """
        (overlap,) = self.default_measures()
        zero = protocol in ('mtinet', 'invpt')
        return [dict(overlap, absent='zero' if zero else 'ignore')]

    def save(self, value: np.ndarray, stem: str) -> str:
        """A PNG of the classes."""
        return save_gray(value[0], stem)

    def draw(self, value: np.ndarray) -> np.ndarray:
        """Each class in its colour of the palette, what is none in another."""
        ids = value[0].astype(np.int64)
        picture = np.full((*ids.shape, 3), UNLABELLED, np.uint8)
        known = (ids >= 0) & (ids < self.num_classes)
        picture[known] = self.palette[ids[known]]
        return picture

    def legend(self, values: Sequence[np.ndarray], width: int) -> np.ndarray:
        """The classes in the maps, by name, and what is none."""
        found = np.unique(
            np.concatenate([value[0].ravel() for value in values])
        )
        entries = [
            (self.palette[i], name)
            for i, name in enumerate(self.classes)
            if i in found
        ]
        if len(entries) < len(found):
            entries.append((np.array(UNLABELLED), 'unlabelled'))
        return swatches(entries, width)
