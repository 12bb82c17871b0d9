"""May a result be compared with the references of ``delta_m``?"""

import hashlib
from typing import Any

from mmengine.evaluator import Evaluator

from mmprotomtl.evaluation import MultiTaskMetric
from mmprotomtl.evaluation.delta import Reference


def references(evaluator: Evaluator) -> list[Reference]:
    """The references of the metrics that have one."""
    found = [getattr(m, 'reference', None) for m in evaluator.metrics]
    return [reference for reference in found if reference is not None]


def check_references(evaluator: Evaluator, facts: dict) -> None:
    """Check that a result may be compared with all references.

    Args:
        evaluator: Its metrics have the references.
        facts: What :func:`facts_of_result` gives.

    Raises:
        ValueError: Test data, labels or seed differ; the message names the
            file, the key and both values.
    """
    for reference in references(evaluator):
        reference.check(facts)


def facts_of_result(
    dataset: Any, evaluator: Evaluator, seed: int | None, trained_on: dict
) -> dict:
    """What a result depends on besides the method, as in ``metrics.json``.

    Args:
        dataset: What is tested on.
        evaluator: How it is scored.
        seed: Of the training.
        trained_on: Meta information of the training set.
    """
    metric = next(
        (m for m in evaluator.metrics if isinstance(m, MultiTaskMetric)), None
    )
    return dict(
        seed=seed,
        protocol=None if metric is None else metric.protocol,
        scoring=None if metric is None else metric.scoring(),
        label_mask=trained_on.get('label_mask'),
        labels_used=trained_on.get('labels_used'),
        test_data=dict(
            type=type(dataset).__name__,
            root=getattr(dataset, 'data_root', None),
            split=getattr(dataset, 'split', None),
            holdout=getattr(dataset, 'holdout', None),
            images=len(dataset),
            ids=hash_of_ids(dataset),
        ),
    )


def hash_of_ids(dataset: Any, in_order: bool = False) -> str | None:
    """SHA-256 over the names of a data set's images; None: they have none.

    Args:
        dataset: A data set of this package.
        in_order: Whether another order is another data set, as to a sampler.
    """
    if not hasattr(dataset, 'get_data_info'):
        return None
    infos = map(dataset.get_data_info, range(len(dataset)))
    names = [info.get('sample_id') for info in infos]
    if None in names:
        return None
    if not in_order:
        names.sort()
    return hashlib.sha256('\n'.join(names).encode()).hexdigest()
