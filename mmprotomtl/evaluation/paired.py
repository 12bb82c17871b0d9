"""Paired differences between two methods: their mean, and how sure it is."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

#: Resamples of the bootstrap.
RESAMPLES = 9999


class Paired(NamedTuple):
    """Summary of paired differences.

    Attributes:
        mean: Their mean.
        std: Their standard deviation (of a sample); NaN of a single pair.
        low: Lower end of the 95 percent interval of the mean; NaN of a single
            pair.
        high: Upper end.
        wins: Number of differences above 0.
        pairs: Number of pairs.
    """

    mean: float
    std: float
    low: float
    high: float
    wins: int
    pairs: int


def paired(differences: Sequence[float]) -> Paired:
    """Summarise paired differences.

    The interval is SciPy's bootstrap of the mean, bias-corrected and
    accelerated (Efron 1987), with a fixed seed. It treats the pairs, such as
    seeds, as the sample; of few pairs it is too narrow rather than too wide.

    Args:
        differences: One for each pair, positive where the first is better;
            NaN if any pair has no score.

    Raises:
        ValueError: There is no pair.
    """
    values = np.asarray(differences, dtype=float)
    if not values.size:
        raise ValueError('there is no pair')
    mean, nan = float(values.mean()), float('nan')
    wins = int((values > 0).sum())
    if len(values) == 1 or np.isnan(mean):
        return Paired(mean, nan, nan, nan, wins, len(values))
    std = float(values.std(ddof=1))
    if std == 0:
        return Paired(mean, std, mean, mean, wins, len(values))
    low, high = _interval(values, 'BCa')
    if np.isnan([low, high]).any():
        low, high = _interval(values, 'percentile')
    return Paired(mean, std, low, high, wins, len(values))


def _interval(values: np.ndarray, method: str) -> tuple[float, float]:
    with warnings.catch_warnings():
        # SciPy warns where this method has no answer, which is NaN.
        warnings.simplefilter('ignore', stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=RESAMPLES,
            confidence_level=0.95,
            method=method,
            random_state=0,
        ).confidence_interval
    return float(found.low), float(found.high)
