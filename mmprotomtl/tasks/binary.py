"""What saliency and edges share: a yes or no for every pixel."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from mmprotomtl.utils.drawing import bar
from mmprotomtl.utils.errors import DataFileError

from .base import UNLABELLED, Task, save_gray
from .output import OutputInfo


class BinaryTask(Task):
    """A task whose label is 0 or 1, 255 = unlabelled, and whose prediction is
    the probability of 1, ``1 x H x W``.
    """

    label_kind: str = 'binary'
    over_photo: ClassVar[bool] = True
    #: Share of the valid pixels that can be 1 in a whole data set.
    plausible_share: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def check_values(self, label: np.ndarray, path: str) -> np.ndarray:
        """Refuse what is not 0, 1 or 255."""
        if not np.isin(label, (0, 1, self.invalid)).all():
            found = np.unique(label)
            found = found[~np.isin(found, (0, 1, self.invalid))][:8].tolist()
            raise DataFileError(
                path,
                f'label values {found} of task {self.name!r}; allowed are 0, '
                f'1 and {self.invalid} (unlabelled)',
            )
        return label.astype(np.uint8)

    def describe(self, label: np.ndarray, raw: np.ndarray) -> dict[str, Any]:
        """Add the number of ones."""
        ones = int((label == 1).sum())
        return dict(super().describe(label, raw), ones=ones)

    def summarise(self, described: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Add the share of the valid pixels that are 1."""
        ones = sum(item['ones'] for item in described)
        valid = sum(item['valid'] for item in described)
        return dict(super().summarise(described), share=ones / max(valid, 1))

    def plausible(self, summary: dict[str, Any]) -> list[str]:
        """Ones are neither nowhere nor everywhere."""
        doubts = super().plausible(summary)
        low, high = self.plausible_share
        if summary['valid'] and not low < summary['share'] < high:
            doubts.append(
                f'{summary["share"]:.2%} of the pixels are 1; plausible are '
                f'{low:.2%} .. {high:.2%}'
            )
        return doubts

    def output_info(self) -> OutputInfo:
        """A probability."""
        return OutputInfo('probability', value_range=(0.0, 1.0))

    def save(self, value: np.ndarray, stem: str) -> str:
        """A PNG of the probability, 0 .. 255."""
        return save_gray((value[0] * 255).round(), stem)

    def draw(self, value: np.ndarray) -> np.ndarray:
        """White for 1, black for 0, a colour for pixels without a label."""
        unlabelled = value[0] == self.invalid
        gray = np.where(unlabelled, 0, value[0])
        gray = (np.clip(gray, 0, 1) * 255).round().astype(np.uint8)
        picture = np.repeat(gray[..., None], 3, axis=2)
        picture[unlabelled] = UNLABELLED
        return picture

    def legend(self, values: Sequence[np.ndarray], width: int) -> np.ndarray:
        """Black is a no, white a yes, gray the probability between them."""
        key = bar(
            np.linspace(0, 255, 128)[:, None].repeat(3, 1),
            ('0 = no', '1 = yes'),
            width,
        )
        return np.vstack([key, self.unknown_key(values, width)])
