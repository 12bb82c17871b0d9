"""Temperature of the affinities, which may change over training."""

import torch
from torch import Tensor, nn


class Temperature(nn.Module):
    """Temperature of a softmax.

    With an end, it is start * (end / start) ** min(1, n / steps) in the n-th
    training step (from 0). The number of steps is in checkpoints, so a resumed
    run goes on with it, and a test uses that of the end of the training. Steps
    are counted where the module is used in training mode.

    Args:
        start: Temperature of the first step.
        end: Temperature after ``steps`` steps; None: always ``start``.
        steps: Number of training steps until the end.

    Raises:
        ValueError: A temperature is not positive, or only one of ``end`` and
            ``steps`` is given, or ``steps`` is not positive.
    """

    steps: Tensor

    def __init__(
        self,
        start: float,
        end: float | None = None,
        steps: int | None = None,
    ) -> None:
        super().__init__()
        for key, value in (('', start), ('_end', end), ('_steps', steps)):
            if value is not None and value <= 0:
                raise ValueError(
                    f'neck.temperature{key}={value} is not allowed: it must '
                    'be positive'
                )
        if (end is None) != (steps is None):
            raise ValueError(
                f'neck.temperature_end={end} is not allowed with '
                f'neck.temperature_steps={steps}: set both, or none of them'
            )
        self.start = start
        self.end = end
        self.until = steps
        if end is not None:
            self.register_buffer('steps', torch.zeros((), dtype=torch.long))

    def forward(self) -> float | Tensor:
        """Return the temperature of this step; in training, count it."""
        if self.end is None or self.until is None:
            return self.start
        progress = (self.steps / self.until).clamp(max=1)
        if self.training:
            self.steps += 1
        return self.start * (self.end / self.start) ** progress
