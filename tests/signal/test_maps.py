"""Smoothing and normalisation of maps."""

from __future__ import annotations

import numpy as np
import pytest

from migxai.errors import ImageError, UsageError
from migxai.signal import mean_normalised, smooth, z_scored


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


@pytest.fixture
def grid():
    values = np.random.default_rng(0).uniform(1, 3, (6, 7, 8))
    mask = np.random.default_rng(1).random((6, 7, 8)) < 0.8
    return values * mask, mask


def test_the_mean_is_one(grid):
    values, mask = grid
    found = mean_normalised(values, mask)
    assert found[mask].mean() == pytest.approx(1)
    assert not found[~mask].any()
    np.testing.assert_allclose(found * values[mask].mean(), values)


def test_z_scores_have_mean_zero_and_spread_one(grid):
    values, mask = grid
    found = z_scored(values, mask)
    assert found[mask].mean() == pytest.approx(0, abs=1e-12)
    assert found[mask].std(ddof=1) == pytest.approx(1)
    assert not found[~mask].any()


def test_the_zero_shell_counts_only_if_asked(grid):
    values, mask = grid
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1, 1:-1] = True
    shelled = values * inner
    found = mean_normalised(shelled, mask)
    assert found[mask & inner].mean() == pytest.approx(1)
    assert not found[~inner].any()
    assert mean_normalised(shelled, mask, count_shell=True)[mask].mean() == pytest.approx(1)
    scored = z_scored(shelled, mask)
    assert scored[mask & inner].mean() == pytest.approx(0, abs=1e-12)
    assert not scored[~inner].any()
    assert (z_scored(shelled, mask, count_shell=True)[mask & ~inner] < 0).all()


def test_single_precision_stays(grid):
    values, mask = grid
    assert mean_normalised(values.astype(np.float32), mask).dtype == np.float32
    assert z_scored(values.astype(np.float32), mask).dtype == np.float32


def test_maps_without_spread_or_level_are_refused(grid):
    _, mask = grid
    with pytest.raises(ImageError, match="mean in the mask"):
        mean_normalised(-np.ones(mask.shape), mask)
    with pytest.raises(ImageError, match="z-scores"):
        z_scored(np.ones(mask.shape), mask)
    with pytest.raises(ImageError, match="does not fit"):
        mean_normalised(np.ones((2, 2, 2)), mask)
    with pytest.raises(ImageError, match="No voxel"):
        mean_normalised(np.zeros((2, 2, 2)), np.ones((2, 2, 2)))
