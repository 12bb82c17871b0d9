"""Samplers that make the data of a run independent of who loads it."""

from collections.abc import Iterator

import numpy as np
from mmengine.dataset import DefaultSampler

from mmprotomtl.registry import DATA_SAMPLERS


class SeededIndex(int):
    """An index that carries the seed of its sample's random transforms."""

    seed: int

    def __new__(cls, index: int, seed: int) -> 'SeededIndex':
        """An index with a seed."""
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    def __reduce__(self) -> tuple:
        return type(self), (int(self), self.seed)


def sample_seed(index: int) -> int | None:
    """The seed that came with an index, if one did."""
    return getattr(index, 'seed', None)


@DATA_SAMPLERS.register_module()
class SeededSampler(DefaultSampler):
    """mmengine's sampler, each index with a seed of its own.

    The seed follows from the run's seed, the epoch and the index. So an image
    is cropped, flipped and coloured the same way whatever the number of
    loader workers and processes, and a resumed run sees what the uninterrupted
    one would have seen; yet every epoch sees something new.
    """

    def __iter__(self) -> Iterator[SeededIndex]:
        for index in super().__iter__():
            mixed = np.random.SeedSequence((self.seed, self.epoch, index))
            yield SeededIndex(index, int(mixed.generate_state(1)[0]))
