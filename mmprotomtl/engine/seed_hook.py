"""Random numbers of data and model that a resumed run draws again."""

from typing import Any

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmprotomtl.datasets import MultiTaskDataset
from mmprotomtl.datasets.samplers import SeededIndex, sample_seed
from mmprotomtl.datasets.unwrap import leaf_datasets
from mmprotomtl.registry import HOOKS


@HOOKS.register_module()
class IterSeedHook(Hook):
    """Seeds torch before each training step from the run's seed, the rank and
    the number of the step.

    Whatever the model draws (dropout, stochastic depth) is the same after a
    resume as in the uninterrupted run; no state has to be saved. That the
    data are, too, is checked at the start: the sampler has to give seeds, and
    data set wrappers to hand them on.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Check that the data set gets the sampler's seeds.

        Raises:
            ValueError: It does not; the message says what to use instead.
        """
        by_iter = isinstance(runner.train_loop, IterBasedTrainLoop)
        sampler = sampler_of(runner.train_dataloader)
        if isinstance(sampler, InfiniteSampler) and not by_iter:
            raise ValueError(
                'train_dataloader.sampler.type='
                f'{type(sampler).__name__!r} never ends an epoch: take '
                'SeededSampler, or train_cfg=dict(by_epoch=False, '
                'max_iters=...)'
            )
        others = check_seeds(runner.train_dataloader)
        if others:
            runner.logger.warning(
                f'{", ".join(others)}: no data set of this package, which '
                'may draw other random numbers after a resume'
            )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Seed."""
        mixed = np.random.SeedSequence((runner.seed, runner.rank, runner.iter))
        torch.manual_seed(int(mixed.generate_state(1)[0]))


def check_seeds(loader: DataLoader) -> list[str]:
    """Check that each data set below a loader gets seeds with its indices.

    Nothing is loaded.

    Args:
        loader: Of training.

    Returns:
        Places of data sets that are none of this package.

    Raises:
        ValueError: The sampler gives no seeds, or a wrapper loses them; the
            message says what to use instead.
    """
    place = 'train_dataloader.dataset'
    dataset: Any = loader.dataset
    parts = list(leaf_datasets(dataset, place))
    ours = [part for _, part in parts if isinstance(part, MultiTaskDataset)]
    others = [n for n, p in parts if not isinstance(p, MultiTaskDataset)]
    sampler = sampler_of(loader)
    if ours and not getattr(sampler, 'gives_seeds', False):
        better = (
            'SeededInfiniteSampler'
            if isinstance(sampler, InfiniteSampler)
            else 'SeededSampler'
        )
        raise ValueError(
            f'train_dataloader.sampler.type={type(sampler).__name__!r} gives '
            'the images no seeds: augmentations would differ after a resume. '
            f'Take type={better!r} (or, in a sampler of your own, yield '
            'mmprotomtl.datasets.samplers.SeededIndex and set gives_seeds)'
        )
    for index in {0, len(dataset) - 1} if ours else ():
        if _arriving_seed(dataset, ours, index) is None:
            raise ValueError(
                f'{place}.type={type(dataset).__name__!r} (or a wrapper in '
                "it) loses the sampler's seeds: augmentations would differ "
                'after a resume. Take ConcatDataset, RepeatDataset, '
                'ClassBalancedDataset or MultiTaskConcatDataset of mmprotomtl '
                "(without the prefix 'mmengine.'), or, in a wrapper of your "
                'own, hand on with_seed(inner_index, sample_seed(index)) of '
                'mmprotomtl.datasets.samplers'
            )
    return others


class _ArrivedError(Exception):
    """Carries an index from a data set out through its wrappers."""


def _arriving_seed(
    dataset: Any, leaves: list[MultiTaskDataset], index: int
) -> int | None:
    """The seed with which an index comes to the data set below wrappers;
    None: with none.
    """

    def arrive(idx: int) -> dict:
        raise _ArrivedError(idx)

    for leaf in leaves:
        # It goes before the method of the class.
        leaf.prepare_data = arrive  # type: ignore[method-assign]
    try:
        dataset[SeededIndex(index, 1)]
    except _ArrivedError as arrived:
        return sample_seed(arrived.args[0])
    finally:
        for leaf in leaves:
            del leaf.prepare_data
    # A data set of another package was asked.
    return 1


def sampler_of(loader: DataLoader) -> Any:
    """The sampler, also below a batch sampler."""
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)
