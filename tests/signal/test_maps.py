"""Smoothing and normalisation of maps, voxels to regions and back, and correlations between regions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from migxai.errors import AtlasError, ImageError, UsageError
from migxai.signal import (
    correlation_matrix,
    mean_normalised,
    paint,
    region_coverage,
    region_means,
    region_values,
    rfcs,
    smooth,
    z_scored,
)
from migxai.signal.maps import covered_means


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


def test_means_are_those_of_the_members():
    rng = np.random.default_rng(0)
    series, labels = rng.standard_normal((500, 30)).astype(np.float32) + 100, rng.integers(0, 9, 500)
    indices = [7, 2, 99, 5]
    found = region_means(series, labels, indices)
    assert found.shape == (30, 4)
    for place, index in enumerate(indices):
        if index == 99:
            assert np.isnan(found[:, place]).all()
        else:
            np.testing.assert_allclose(found[:, place], series[labels == index].mean(axis=0, dtype=float), rtol=1e-12)


def test_values_of_a_map():
    labels = np.array([[[1, 1, 2], [0, 5, 5]]])
    values = np.array([[[1.0, 3.0, 7.0], [100.0, 2.0, 4.0]]])
    np.testing.assert_array_equal(region_values(values, labels, [5, 1, 3, 2]), [3, 2, np.nan, 7])


def test_coverage_is_the_share_inside_the_mask():
    atlas = np.array([[[1, 1, 1, 1], [2, 2, 0, 0]]])
    mask = np.array([[[1, 1, 1, 0], [0, 0, 1, 1]]])
    np.testing.assert_array_equal(region_coverage(atlas, mask, [1, 2, 3]), [0.75, 0.0, np.nan])


def test_painting_inverts_taking_values():
    rng = np.random.default_rng(0)
    atlas = rng.integers(0, 6, (4, 5, 6))
    indices = np.array([4, 1, 3])
    painted = paint([1.5, np.nan, -2.0], atlas, indices)
    assert np.isnan(painted[atlas == 1]).all()
    assert not painted[np.isin(atlas, [0, 2, 5])].any()
    np.testing.assert_array_equal(region_values(painted, atlas, indices), [1.5, np.nan, -2.0])
    assert not np.isnan(paint([1.5, np.nan, -2.0], atlas, indices, missing=0.0)).any()


def test_atlases_that_do_not_fit_are_refused():
    with pytest.raises(AtlasError, match="labels do not fit"):
        region_means(np.ones((4, 5)), [1, 2], [1])
    with pytest.raises(AtlasError, match="labels do not fit"):
        region_values(np.ones(4), [1, 2], [1])
    with pytest.raises(AtlasError, match="whole numbers"):
        region_coverage(np.full((2, 2, 2), 1.5), np.ones((2, 2, 2)), [1])
    with pytest.raises(AtlasError, match="does not fit a mask"):
        region_coverage(np.ones((2, 2, 3)), np.ones((2, 2, 2)), [1])
    with pytest.raises(AtlasError, match="regional values"):
        paint([1.0], np.ones((2, 2, 2)), [1, 2])


@given(seed=st.integers(0, 999), regions=st.integers(2, 12), volumes=st.integers(5, 60))
@settings(max_examples=40, deadline=None)
def test_is_the_mean_absolute_correlation(seed, regions, volumes):
    series = np.random.default_rng(seed).standard_normal((volumes, regions)) + 100
    expected = np.corrcoef(series.T)
    found = correlation_matrix(series)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.array_equal(found, found.T)
    strength = (np.abs(expected).sum(axis=1) - 1) / (regions - 1)
    np.testing.assert_allclose(rfcs(series), strength, atol=1e-12)
    np.testing.assert_allclose(rfcs(series, divisor="n"), strength * (regions - 1) / regions, atol=1e-12)


def test_agrees_with_gretna(reference):
    series = reference.programs["gretna_rfcs_TC"]
    correlations = reference.programs["gretna_rfcs_R"]
    off_diagonal = ~np.eye(len(correlations), dtype=bool)
    np.testing.assert_allclose(correlation_matrix(series)[off_diagonal], correlations[off_diagonal], atol=1e-10)
    expected = reference.programs["gretna_rfcs_node_strength_sum"] / (len(correlations) - 1)
    np.testing.assert_allclose(rfcs(series), expected, atol=1e-10)


@pytest.mark.parametrize("empty", [np.nan, 0.0, 1234.567])
def test_regions_without_data_are_nan_and_count_nowhere(empty):
    series = np.random.default_rng(0).standard_normal((50, 6))
    series[:, 2] = empty
    rest = [0, 1, 3, 4, 5]
    found = rfcs(series)
    assert np.isnan(found[2])
    np.testing.assert_allclose(found[rest], rfcs(series[:, rest]), rtol=1e-12)
    assert np.isnan(correlation_matrix(series)[2]).all()
    assert np.isfinite(correlation_matrix(series)[np.ix_(rest, rest)]).all()


def test_one_missing_sample_is_a_region_without_data():
    series = np.random.default_rng(0).standard_normal((50, 3))
    series[7, 0] = np.nan
    assert np.isnan(rfcs(series)).tolist() == [True, False, False]


def test_a_single_region_has_no_others():
    assert np.isnan(rfcs(np.random.default_rng(0).standard_normal((20, 1)))).all()


def test_wrong_requests_of_connectivity_are_refused():
    with pytest.raises(UsageError, match="divisor"):
        rfcs(np.eye(5), divisor="n+1")
    with pytest.raises(ImageError, match="at least 3 volumes"):
        rfcs(np.ones((2, 5)))


@pytest.fixture
def covered_scene():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 6, (9, 8, 7)) * 10
    return rng.normal(size=labels.shape), labels, rng.random(labels.shape) < 0.8


def test_means_and_coverage_equal_scipys(covered_scene):
    volume, labels, covered = covered_scene
    indices = [30, 10, 50]
    means, coverage = covered_means(volume, labels, indices, covered)
    np.testing.assert_allclose(means, ndimage.mean(volume, np.where(covered, labels, 0), indices), rtol=1e-12)
    np.testing.assert_allclose(coverage, ndimage.mean(covered.astype(float), labels, indices), rtol=1e-12)


def test_a_region_covered_too_little_has_no_mean(covered_scene):
    volume, labels, covered = covered_scene
    rim = np.flatnonzero(labels.ravel() == 20)
    covered.ravel()[rim] = False
    covered.ravel()[rim[: len(rim) // 2 - 1]] = True
    means, coverage = covered_means(volume, labels, [10, 20], covered)
    assert np.isfinite(means[0])
    assert np.isnan(means[1])
    assert 0.3 < coverage[1] < 0.5
    assert np.isfinite(covered_means(volume, labels, [10, 20], covered, min_coverage=0.3)[0]).all()


def test_numbers_outside_the_mask_and_nan_inside_it_do_not_enter(covered_scene):
    volume, labels, covered = covered_scene
    expected = covered_means(volume, labels, [10, 20], covered)
    dirty = np.where(covered, volume, np.nan)
    np.testing.assert_array_equal(covered_means(dirty, labels, [10, 20], np.ones_like(covered)), expected)


def test_absent_regions_and_empty_maps_are_covered_by_nothing(covered_scene):
    volume, labels, covered = covered_scene
    means, coverage = covered_means(volume, labels, [10, 99], covered, min_coverage=0.0)
    assert np.isnan(means[1])
    assert coverage[1] == 0
    means, coverage = covered_means(volume, labels, [10, 20], np.zeros_like(covered))
    assert np.isnan(means).all()
    assert not coverage.any()


def test_shapes_must_agree(covered_scene):
    volume, labels, covered = covered_scene
    with pytest.raises(AtlasError, match="do not fit each other"):
        covered_means(volume[1:], labels, [10], covered)
