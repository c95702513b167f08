"""The band-pass as a projection."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import detrend

from migxai.errors import DenoisingError, TimingError, UsageError
from migxai.signal import band_dimensions, bandpass
from migxai.signal.filtering import band_basis


@pytest.mark.parametrize(
    ("volumes", "repetition_time", "low", "high", "dimensions"),
    [
        (170, 2.0, 0.01, 0.08, 48),
        (146, 2.0, 0.01, 0.08, 42),
        (100, 2.0, 0.01, 0.05, 18),  # both edges are bins
        (100, 2.0, 0.2, 0.25, 21),  # the Nyquist frequency has one dimension
        (100, 2.0, 0.0, 0.25, 99),  # all but the mean
        (101, 2.0, 0.0, 9.0, 100),
    ],
)
def test_dimensions_of_a_band(volumes, repetition_time, low, high, dimensions):
    basis = band_basis(volumes, repetition_time, low, high)
    assert band_dimensions(volumes, repetition_time, low, high) == dimensions
    assert np.linalg.matrix_rank(basis) == dimensions
    np.testing.assert_allclose(basis.T @ basis, np.eye(dimensions), atol=1e-12)


@given(seed=st.integers(0, 999), volumes=st.integers(40, 120))
@settings(max_examples=30, deadline=None)
def test_is_idempotent_and_equals_the_fourier_filter(seed, volumes):
    series = np.random.default_rng(seed).standard_normal((4, volumes)) + 50
    spectrum = np.fft.rfft(series)
    frequencies = np.arange(spectrum.shape[1]) / (volumes * 2.0)
    spectrum[:, (frequencies < 0.05 - 1e-9) | (frequencies > 0.2 + 1e-9)] = 0
    found = bandpass(series, 2.0, 0.05, 0.2, detrend=False)
    np.testing.assert_allclose(found, np.fft.irfft(spectrum, volumes), atol=1e-9)
    np.testing.assert_allclose(bandpass(found, 2.0, 0.05, 0.2, detrend=False), found, atol=1e-12)


def test_detrends_first_unless_told_not_to():
    series = np.random.default_rng(0).standard_normal((3, 100)) + 3 * np.arange(100) + 1000
    expected = bandpass(detrend(series), 2.0, detrend=False)
    np.testing.assert_allclose(bandpass(series, 2.0), expected, atol=1e-9)
    assert np.abs(bandpass(series, 2.0, detrend=False) - expected).max() > 1


def test_waves_in_the_band_stay_and_others_go():
    time = np.arange(150) * 2.0
    inside, outside = np.cos(2 * np.pi * 12 / 300 * time), np.cos(2 * np.pi * 60 / 300 * time)
    found = bandpass((inside + outside + 7)[None].astype(np.float32), 2.0)
    assert found.dtype == np.float32
    assert np.abs(found - inside).max() < 0.05  # the little that detrending takes from a wave


def test_impossible_bands_are_refused():
    with pytest.raises(DenoisingError, match="No frequency"):
        bandpass(np.ones((1, 20)), 2.0, 0.01, 0.02)
    with pytest.raises(UsageError, match="empty"):
        bandpass(np.ones((1, 20)), 2.0, 0.08, 0.01)
    with pytest.raises(TimingError, match="impossible"):
        bandpass(np.ones((1, 20)), -2.0)
