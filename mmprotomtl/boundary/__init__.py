"""The boundary benchmark of BSDS500 in Python, without Matlab."""

from .benchmark import count, count_maps, scores, thresholds
from .cover import Cover, preference
from .match import Matching, candidates, match
from .nms import suppress
from .thin import thin, thin_levels

__all__ = [
    'Cover',
    'Matching',
    'candidates',
    'count',
    'count_maps',
    'match',
    'preference',
    'scores',
    'suppress',
    'thin',
    'thin_levels',
    'thresholds',
]
