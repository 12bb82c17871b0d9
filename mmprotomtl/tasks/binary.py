"""What saliency and edges share: a yes or no for every pixel."""

import numpy as np

from mmprotomtl.utils.errors import DataFileError

from .base import Task, save_gray


class BinaryTask(Task):
    """A task whose label is 0 or 1, 255 = unlabelled, and whose prediction is
    the probability of 1, ``1 x H x W``.
    """

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

    def save(self, value: np.ndarray, stem: str) -> str:
        """A PNG of the probability, 0 .. 255."""
        return save_gray((value[0] * 255).round(), stem)

    def draw(self, value: np.ndarray) -> np.ndarray:
        """White for 1; a pixel without a label is black, as 0 is."""
        gray = np.where(value[0] == self.invalid, 0, value[0])
        gray = (np.clip(gray, 0, 1) * 255).round().astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
