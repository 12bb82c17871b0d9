"""Suppression: nobody publishes its output, so the description is computed
twice, and what it is for is checked.
"""

import math

import numpy as np
import pytest
from scipy import ndimage
from skimage import morphology

from mmprotomtl.boundary import suppress


def described(prob, radius=4, border=5, margin=1.01):
    """Pixel by pixel, in loops of Python floats, from the description."""
    height, width = prob.shape
    weights = [radius + 1 - abs(d) for d in range(-radius, radius + 1)]

    def mirrored(i, size):
        i = -1 - i if i < 0 else i
        return 2 * size - 1 - i if i >= size else i

    smooth = [[0.0] * width for _ in range(height)]
    for y in range(height):
        for x in range(width):
            for a, dy in zip(weights, range(-radius, radius + 1), strict=True):
                for b, dx in zip(
                    weights, range(-radius, radius + 1), strict=True
                ):
                    smooth[y][x] += (
                        a * b * prob[mirrored(y + dy, height)]
                        [mirrored(x + dx, width)]
                    )  # fmt: skip
            smooth[y][x] /= sum(weights) ** 2

    def slope(values, y, x, down):
        """Half the difference of the neighbours; at the border, the whole
        one to the only neighbour.
        """
        if down:
            low, high = max(y - 1, 0), min(y + 1, height - 1)
            return (values[high][x] - values[low][x]) / (high - low)
        low, high = max(x - 1, 0), min(x + 1, width - 1)
        return (values[y][high] - values[y][low]) / (high - low)

    def derivative(values, down):
        return [
            [slope(values, y, x, down) for x in range(width)]
            for y in range(height)
        ]

    ddx = derivative(smooth, False)
    ddy = derivative(smooth, True)
    dxx = derivative(ddx, False)
    dyy = derivative(ddy, True)
    dxy = derivative(ddy, False)

    def between(y, x):
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        top, left = min(int(y), height - 2), min(int(x), width - 2)
        v, u = y - top, x - left
        return (
            (1 - v) * (1 - u) * prob[top][left]
            + (1 - v) * u * prob[top][left + 1]
            + v * (1 - u) * prob[top + 1][left]
            + v * u * prob[top + 1][left + 1]
        )

    result = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            sign = -1 if dxy[y][x] > 0 else 1
            angle = math.atan(dyy[y][x] * sign / (dxx[y][x] + 1e-5)) % math.pi
            neighbours = [
                between(y + s * math.sin(angle), x + s * math.cos(angle))
                for s in (-1, 1)
            ]
            if prob[y][x] * margin < max(neighbours):
                continue
            edge_y = min(y, height - 1 - y, border) / border
            edge_x = min(x, width - 1 - x, border) / border
            result[y, x] = prob[y][x] * edge_y * edge_x
    return result


@pytest.mark.parametrize('seed', [0, 1])
def test_against_the_description_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    prob = ndimage.gaussian_filter(rng.random((26, 31)), 1.5)
    prob = (prob - prob.min()) / np.ptp(prob)
    prob = np.rint(255 * prob) / 255
    expected = described(prob)
    assert 0.05 < (expected > 0).mean() < 0.5
    np.testing.assert_allclose(suppress(prob), expected, atol=1e-12)


@pytest.mark.parametrize('degrees', range(0, 180, 9))
@pytest.mark.parametrize('offset', [0.0, 0.35])
def test_a_ridge_of_any_direction_becomes_a_line(degrees, offset):
    y, x = np.mgrid[-25:26, -25:26]
    angle = np.radians(degrees)
    away = x * np.cos(angle) + y * np.sin(angle) - offset
    prob = 0.9 * np.exp(-(away**2) / 4.5)
    inner = np.s_[8:-8, 8:-8]
    kept = suppress(prob)[inner]
    away, prob = away[inner], prob[inner]
    # What rounds to 0 in 8 bits is nothing.
    line = kept > 0.5 / 255
    assert (kept[line] == prob[line]).all()
    # All of the top is left, and nothing beside it: a pixel that is farther
    # has a neighbour that is nearer.
    assert line[np.abs(away) < 0.3].all()
    assert np.abs(away[line]).max() < 0.6
    # Across it: one pixel, or two where the top lies between them.
    steep = abs(np.cos(angle)) >= abs(np.sin(angle))
    rows, values = (line, prob) if steep else (line.T, prob.T)
    assert set(rows.sum(1)) <= {1, 2}
    assert rows[np.arange(len(rows)), values.argmax(1)].all()
    thinned = morphology.thin(line)
    # (Thinning may shorten a line.)
    wide = thinned[1:-1, 1:-1].sum(1 if steep else 0)
    assert wide.max() == 1
    assert wide.mean() > 0.7


def test_the_highest_pixel_of_all_stays():
    rng = np.random.default_rng(3)
    for _ in range(5):
        prob = ndimage.gaussian_filter(rng.random((60, 50)), 2)
        inner = prob[6:-6, 6:-6]
        place = np.unravel_index(inner.argmax(), inner.shape)
        assert suppress(prob)[6:-6, 6:-6][place] == inner.max()


def test_less_is_left_of_what_was_there():
    noise = np.random.default_rng(0).random((40, 40))
    prob = ndimage.gaussian_filter(noise, 1)
    kept = suppress(prob)
    inner = np.s_[5:-5, 5:-5]
    assert set(np.unique((kept / prob)[inner])) == {0.0, 1.0}


def test_it_fades_at_the_border():
    kept = suppress(np.ones((20, 24)))
    assert kept[10, :7].tolist() == [0, 0.2, 0.4, 0.6, 0.8, 1, 1]
    assert (kept[[0, -1]] == 0).all()
    assert (kept[:, [0, -1]] == 0).all()
