"""The boundary benchmark without Matlab."""

from .benchmark import count, count_maps, scores, thresholds
from .match import candidates, match
from .nms import suppress
from .thin import thin, thin_levels

__all__ = [
    'candidates',
    'count',
    'count_maps',
    'match',
    'scores',
    'suppress',
    'thin',
    'thin_levels',
    'thresholds',
]
