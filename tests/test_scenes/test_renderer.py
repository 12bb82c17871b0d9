import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from mmprotomtl.scenes.geometry import dot, times
from mmprotomtl.scenes.renderer import render
from tests.conftest import ROOT

#: Scenes 0 .. 3 of world 2, 48 x 64.
HASHES = ['96b12c52', '77341b3c', '9ce85bbd', '06830aba']


def digest(image: np.ndarray) -> str:
    return hashlib.md5(image.tobytes()).hexdigest()[:8]


def test_scenes_are_the_same_on_every_processor():
    """BLAS rounds in another way for each kind of processor."""
    assert [digest(render(2, n, (48, 64)).image) for n in range(4)] == HASHES
    code = (
        'from tests.test_scenes.test_renderer import digest, render\n'
        'print(*(digest(render(2, n, (48, 64)).image) for n in range(4)))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=ROOT,
        env={**os.environ, 'OPENBLAS_CORETYPE': 'Haswell'},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split()[-4:] == HASHES


def test_products():
    rng = np.random.default_rng(0)
    vectors, others = rng.random((2, 5, 3))
    matrix = rng.random((3, 3))
    assert dot(vectors, others) == pytest.approx((vectors * others).sum(1))
    assert dot(vectors[0, :2], others[0, :2]) == pytest.approx(
        vectors[0, :2] @ others[0, :2]
    )
    assert times(vectors, matrix) == pytest.approx(vectors @ matrix)
    assert times(vectors[0], matrix) == pytest.approx(vectors[0] @ matrix)
