"""Smoothing within a mask."""

import numpy as np
import pytest

from migxai.errors import ImageError, UsageError
from migxai.signal import smooth


@pytest.fixture
def mask():
    grid = np.indices((17, 18, 19)) - 9
    return (grid**2).sum(axis=0) < 64


def test_a_constant_stays_to_the_edge(mask):
    found = smooth(np.full((mask.sum(), 20), 5.0), mask, (3, 3, 3), 6.0)
    np.testing.assert_allclose(found, 5.0, rtol=1e-12)


@pytest.mark.parametrize("sizes", [(3.0, 3.0, 3.0), (2.0, 3.0, 4.0)])
def test_a_point_becomes_a_gaussian_of_the_width_asked_for(sizes):
    points = np.zeros((31, 31, 31))
    points[15, 15, 15] = 1.0
    found = smooth(points.reshape(-1, 1), np.ones((31, 31, 31)), sizes, 10.0).reshape(points.shape)
    for axis, size in enumerate(sizes):
        profile = found.sum(axis=tuple(other for other in range(3) if other != axis))
        variance = ((np.arange(31) - 15.0) ** 2 * profile).sum() * size**2
        assert np.sqrt(variance) * 2.3548 == pytest.approx(10.0, rel=0.01)


def test_every_volume_is_smoothed_alone(mask):
    series = np.random.default_rng(0).standard_normal((mask.sum(), 40)).astype(np.float32)
    before = series.copy()
    found = smooth(series, mask, (3, 3, 3), 4.0)
    assert found.dtype == np.float32
    assert np.array_equal(series, before)
    for volume in (0, 17, 39):
        assert np.array_equal(
            found[:, volume : volume + 1], smooth(series[:, volume : volume + 1], mask, (3, 3, 3), 4.0)
        )
    assert found.std() < 0.6 * series.std()


def test_no_width_changes_nothing(mask):
    series = np.random.default_rng(0).standard_normal((mask.sum(), 3))
    found = smooth(series, mask, (3, 3, 3), 0.0)
    assert np.array_equal(found, series)
    assert not np.shares_memory(found, series)


def test_wrong_requests_are_refused(mask):
    with pytest.raises(ImageError, match="do not fit"):
        smooth(np.ones((5, 3)), mask, (3, 3, 3), 4.0)
    for sizes, width in (((3, 3, 3), -1.0), ((3, 0, 3), 4.0), ((3, 3, 3), float("nan"))):
        with pytest.raises(UsageError, match="impossible"):
            smooth(np.ones((mask.sum(), 3)), mask, sizes, width)
