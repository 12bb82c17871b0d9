"""Do the labels behind a pipeline agree with what is reported of them?"""

from collections.abc import Mapping
from typing import Any


def changed_labels(listed: set[str], results: Any, masked: bool) -> str | None:
    """Compare the labels behind a pipeline with those of the list of files.

    Args:
        listed: Tasks that have a label in the data set's list.
        results: What the pipeline gives, packed or not.
        masked: Whether there is a label mask. Without one, a transform may
            compute a label of a further task.

    Returns:
        What the transforms have changed; None: nothing, or no label was
        loaded.
    """
    maps = _label_maps(results)
    if maps is None:
        return None
    left = set(maps.keys())
    changes = dict(
        removed=listed - left, added=left - listed if masked else set()
    )
    if not any(changes.values()):
        return None
    text = ' and '.join(
        f'{done} the label of {", ".join(sorted(names))}'
        for done, names in changes.items()
        if names
    )
    return (
        f'transforms of the pipeline have {text}, so that the numbers and the '
        'hash of labels in the log, in checkpoints and in metrics.json would '
        'be wrong. Hide labels by partial_labels instead: a protocol or a '
        'mask file (docs/label_masks.md)'
    )


def _label_maps(results: Any) -> Any:
    """Return the labels of a sample, by task; None if none were loaded."""
    if not isinstance(results, Mapping):
        return None
    sample = results.get('data_samples')
    if sample is None:
        return results.get('gt_maps')
    return getattr(sample, 'gt_maps', None)
