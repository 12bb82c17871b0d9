"""mmengine's data set wrappers, extended to pass on the sampler's seeds.

They have the same names as in mmengine, so ``type='RepeatDataset'`` in a
config of this package selects the one here. The original wrappers convert an
index to a plain integer, which loses the seed that it carries.
"""

from typing import Any

from mmengine import dataset as mmengine

from mmprotomtl.registry import DATASETS

from .samplers import sample_seed, with_seed


@DATASETS.register_module()
class ConcatDataset(mmengine.ConcatDataset):
    """Concatenation of data sets, see
    :class:`mmengine.dataset.ConcatDataset`.
    """

    def _get_ori_dataset_idx(self, idx: int) -> tuple[int, int]:
        """Return number of the data set and index in it, with the seed."""
        place, index = super()._get_ori_dataset_idx(idx)
        return place, with_seed(index, sample_seed(idx))


class _OneDataset:
    """Mixin for wrappers of a single data set."""

    dataset: Any

    @property
    def metainfo(self) -> dict:
        """Current ``metainfo`` of the data set.

        It is not copied at construction, because the label mask is only made
        when the list of files is read.
        """
        return self.dataset.metainfo

    def _get_ori_dataset_idx(self, idx: int) -> int:
        """Return the index in the data set, with the seed."""
        index = super()._get_ori_dataset_idx(idx)  # type: ignore[misc]
        return with_seed(index, sample_seed(idx))


@DATASETS.register_module()
class RepeatDataset(_OneDataset, mmengine.RepeatDataset):
    """A data set that is used several times per epoch.

    The random augmentations differ each time. See
    :class:`mmengine.dataset.RepeatDataset`.
    """


@DATASETS.register_module()
class ClassBalancedDataset(_OneDataset, mmengine.ClassBalancedDataset):
    """A data set that oversamples images of rare classes.

    The data set must have the method ``get_cat_ids``. See
    :class:`mmengine.dataset.ClassBalancedDataset`.
    """
