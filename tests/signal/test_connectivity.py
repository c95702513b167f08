"""RFCS against numpy's correlations and GRETNA's node strength."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migxai.errors import ImageError, UsageError
from migxai.signal import correlation_matrix, rfcs


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
