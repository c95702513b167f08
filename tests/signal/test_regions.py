"""From voxels to regions and back, and correlations between regions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migxai.errors import AtlasError, ImageError, UsageError
from migxai.signal import correlation_matrix, paint, region_coverage, region_means, region_values, rfcs


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


def test_wrong_requests_are_refused():
    with pytest.raises(UsageError, match="divisor"):
        rfcs(np.eye(5), divisor="n+1")
    with pytest.raises(ImageError, match="at least 3 volumes"):
        rfcs(np.ones((2, 5)))
