"""Samplers that make the data of a run independent of who loads it."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar

import numpy as np
from mmengine.dataset import DefaultSampler, InfiniteSampler

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


def with_seed(index: int, seed: int | None) -> int:
    """An index with a seed, or as it is if there is none."""
    return index if seed is None else SeededIndex(index, seed)


def _seeded(run_seed: int, epoch: int, index: int) -> SeededIndex:
    """An index with the seed that an image has in an epoch of a run."""
    mixed = np.random.SeedSequence((run_seed, epoch, index))
    return SeededIndex(index, int(mixed.generate_state(1)[0]))


@DATA_SAMPLERS.register_module()
class SeededSampler(DefaultSampler):
    """mmengine's sampler, each index with a seed of its own.

    The seed follows from the run's seed, the epoch and the index. So an image
    is cropped, flipped and coloured the same way whatever the number of
    loader workers and processes, and a resumed run sees what the uninterrupted
    one would have seen; yet every epoch sees something new.
    """

    #: Whether the indices carry seeds.
    gives_seeds: ClassVar[bool] = True
    _left_out = 0

    def leave_out(self, number: int) -> None:
        """Begin the next pass, and that one only, after so many indices: a
        run that is resumed within an epoch has seen them.
        """
        self._left_out = number

    def __iter__(self) -> Iterator[SeededIndex]:
        left_out, self._left_out = self._left_out, 0
        for index in islice(super().__iter__(), left_out, None):
            yield _seeded(self.seed, self.epoch, index)


@DATA_SAMPLERS.register_module()
class SeededInfiniteSampler(InfiniteSampler):
    """mmengine's ``InfiniteSampler`` for runs that are counted in iterations,
    each index with a seed as of :class:`SeededSampler`; an epoch is one pass
    over the data.
    """

    #: Whether the indices carry seeds.
    gives_seeds: ClassVar[bool] = True

    def _infinite_indices(self) -> Iterator[Any]:
        # The seeds are made when the indices are used: a resumed run skips
        # many.
        for place, index in enumerate(super()._infinite_indices()):
            yield place // self.size, index

    def __iter__(self) -> Iterator[SeededIndex]:
        for epoch, index in super().__iter__():
            yield _seeded(self.seed, epoch, index)
