"""mmengine's data set wrappers, which hand the sampler's seeds on.

They have mmengine's names, so that ``type='RepeatDataset'`` in a config of
this package is the one here. mmengine's own compute a plain number from the
index, and the seed that came with it is lost.
"""

from typing import Any

from mmengine import dataset as mmengine

from mmprotomtl.registry import DATASETS

from .samplers import sample_seed, with_seed


@DATASETS.register_module()
class ConcatDataset(mmengine.ConcatDataset):
    """Data sets one after the other, see
    :class:`mmengine.dataset.ConcatDataset`.
    """

    def _get_ori_dataset_idx(self, idx: int) -> tuple[int, int]:
        """The data set's number and the index in it, with the seed."""
        place, index = super()._get_ori_dataset_idx(idx)
        return place, with_seed(index, sample_seed(idx))


class _OneDataset:
    """What wrappers of a single data set share."""

    dataset: Any

    @property
    def metainfo(self) -> dict:
        """That of the data set as it is now: its label mask is made when its
        list of files is read.
        """
        return self.dataset.metainfo

    def _get_ori_dataset_idx(self, idx: int) -> int:
        """The index in the data set, with the seed."""
        index = super()._get_ori_dataset_idx(idx)  # type: ignore[misc]
        return with_seed(index, sample_seed(idx))


@DATASETS.register_module()
class RepeatDataset(_OneDataset, mmengine.RepeatDataset):
    """A data set several times in an epoch, each time with augmentations of
    its own, see :class:`mmengine.dataset.RepeatDataset`.
    """


@DATASETS.register_module()
class ClassBalancedDataset(_OneDataset, mmengine.ClassBalancedDataset):
    """A data set in which images of rare classes come more often, see
    :class:`mmengine.dataset.ClassBalancedDataset`. The data set has to have
    ``get_cat_ids``.
    """
