"""Band-pass and nuisance regression."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.signal import clean
from scipy.signal import detrend

from migxai.errors import DenoisingError, TimingError, UsageError
from migxai.signal import band_dimensions, bandpass, check_freedom, motion_expansion, nuisance_model, regress
from migxai.signal.denoising import band_basis, clean_design


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


RNG = np.random.default_rng


@given(seed=st.integers(0, 999), columns=st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_residuals_are_orthogonal_to_the_design(seed, columns):
    rng = RNG(seed)
    series, design = rng.standard_normal((6, 50)) + 100, rng.standard_normal((50, columns)) * 5 + 3
    found = regress(series, design)
    assert np.abs(found @ design).max() < 1e-8
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-10)
    np.testing.assert_allclose(regress(found, design), found, atol=1e-10)
    full = np.column_stack([np.ones(50), design])
    expected = series.T - full @ np.linalg.lstsq(full, series.T)[0]
    np.testing.assert_allclose(found.T, expected, atol=1e-9)


def test_dependent_and_constant_columns_do_no_harm():
    rng = RNG(0)
    series, column = rng.standard_normal((5, 60)), rng.standard_normal((60, 1))
    clumsy = np.hstack([column, 3 * column, np.ones((60, 1)), np.zeros((60, 1)), 1e-9 * column])
    np.testing.assert_allclose(regress(series, clumsy), regress(series, column), atol=1e-9)
    np.testing.assert_allclose(regress(series, np.empty((60, 0))), series - series.mean(axis=1, keepdims=True))


def test_single_precision_far_from_zero():
    rng = RNG(0)
    series, design = rng.standard_normal((5, 60)) + 5000, rng.standard_normal((60, 4))
    found = regress(series.astype(np.float32), design)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, regress(series, design), atol=2e-3)


def test_filter_and_regression_do_not_undo_each_other():
    rng = RNG(1)
    series, design = rng.standard_normal((20, 170)) + 1000, np.cumsum(rng.standard_normal((170, 20)), axis=0)
    model = nuisance_model(design, 2.0)
    found = model.filtered(series)
    np.testing.assert_allclose(bandpass(found, 2.0, detrend=False), found, atol=1e-9)
    assert np.abs(found @ bandpass(design.T, 2.0).T).max() < 1e-7
    assert (model.band_dimensions, model.design_rank, model.residual_dof) == (48, 20, 28)
    assert np.linalg.matrix_rank(model.filtered(rng.standard_normal((200, 170)))) == 28
    assert "28 residual degrees of freedom" in model.warning


def test_equals_filtering_then_regressing_the_filtered_design():
    rng = RNG(2)
    series, design = rng.standard_normal((20, 170)) + 1000, rng.standard_normal((170, 8))
    filtered, columns = bandpass(series, 2.0), bandpass(design.T, 2.0).T
    expected = filtered - (filtered @ np.linalg.pinv(columns).T) @ columns.T
    model = nuisance_model(design, 2.0)
    assert model.warning is None
    np.testing.assert_allclose(model.filtered(series), expected, atol=1e-9)


def test_unfiltered_residuals_are_nilearns():
    rng = RNG(3)
    series, design = rng.standard_normal((20, 170)) + 1000, rng.standard_normal((170, 8))
    expected = clean(series.T, confounds=design, detrend=True, standardize=None, t_r=2.0).T
    # nilearn detrends data and columns each; with a line in the model the residuals are the same.
    np.testing.assert_allclose(nuisance_model(design, 2.0).regressed(series), expected, atol=1e-8)


def test_planted_nuisance_is_removed_and_signal_stays():
    time = np.arange(170) * 2.0
    signal, nuisance = np.sin(2 * np.pi * 0.04 * time), np.cumsum(RNG(4).standard_normal(170))
    series = (signal + 8 * nuisance + 0.3 * time + 900)[None]
    model = nuisance_model(nuisance[:, None], 2.0)
    assert np.corrcoef(model.filtered(series)[0], signal)[0, 1] > 0.97
    assert np.corrcoef(model.regressed(series)[0], signal)[0, 1] > 0.97


def test_censored_volumes_have_no_say():
    rng = RNG(5)
    series, design = rng.standard_normal((10, 170)) + 100, rng.standard_normal((170, 5))
    kept = np.ones(170, dtype=bool)
    kept[[0, 20, 21, 90, 169]] = False
    model = nuisance_model(design, 2.0, kept=kept)
    spiked, wild = series.copy(), design.copy()
    spiked[:, ~kept] += 1e4
    wild[~kept] -= 1e3
    other = nuisance_model(wild, 2.0, kept=kept)
    assert model.filtered(series).shape == (10, 165)
    np.testing.assert_allclose(other.filtered(spiked), model.filtered(series), atol=1e-6)
    np.testing.assert_allclose(other.regressed(spiked), model.regressed(series), atol=1e-6)
    assert np.abs(model.regressed(series) @ design[kept]).max() < 1e-7
    assert model.band_dimensions == 46  # 48 x 165 / 170
    assert model.residual_dof == 41


def test_censoring_recovers_a_slow_wave_across_a_gap():
    time = np.arange(170) * 2.0
    signal = np.sin(2 * np.pi * 10 / 340 * time)
    kept = np.ones(170, dtype=bool)
    kept[[40, 41, 100]] = False
    spiked = np.where(kept, signal, 50.0)[None]
    found = nuisance_model(np.empty((170, 0)), 2.0, kept=kept).filtered(spiked)[0]
    untouched = bandpass(signal[None], 2.0)[0]
    assert np.abs(found - untouched[kept]).max() < 0.05


def test_too_few_degrees_of_freedom_are_refused():
    with pytest.raises(DenoisingError, match=r"Only 8 residual .* \(48 in the band less 40 nuisance terms\)"):
        nuisance_model(RNG(0).standard_normal((170, 40)), 2.0)
    assert check_freedom(30, 48, 18) is None
    assert "below 30" in check_freedom(29, 48, 19)
    assert "below 30" in check_freedom(10, 48, 38)
    with pytest.raises(DenoisingError, match="at least 10"):
        check_freedom(9, 48, 39)


def test_columns_without_anything_in_the_band_cost_nothing():
    time = np.arange(170) * 2.0
    design = np.column_stack([np.ones(170), time, np.cos(2 * np.pi * 60 / 340 * time)])
    # The fast wave's own slope, which detrending takes out, leaves a trace in the band.
    assert nuisance_model(design[:, :2], 2.0).design_rank == 0
    assert nuisance_model(design, 2.0).design_rank <= 1


def test_missing_first_values_count_as_zero_and_others_are_refused():
    design = np.array([[np.nan, 1.0], [2.0, 3.0], [4.0, 5.0]])
    np.testing.assert_array_equal(clean_design(design), [[0, 1], [2, 3], [4, 5]])
    assert np.isnan(design[0, 0])
    design[1, 1] = np.nan
    with pytest.raises(DenoisingError, match="beyond their start: 2"):
        clean_design(design)
    with pytest.raises(DenoisingError, match="beyond their start: 1"):
        clean_design(np.full((3, 1), np.nan))


def test_wrong_shapes_are_refused():
    with pytest.raises(DenoisingError, match="does not fit"):
        regress(np.ones((3, 40)), np.ones((41, 2)))
    with pytest.raises(DenoisingError, match="matrix"):
        regress(np.ones((3, 40)), np.ones(40))
    with pytest.raises(DenoisingError, match="do not fit a model"):
        nuisance_model(np.empty((170, 0)), 2.0).filtered(np.ones((3, 160)))
    with pytest.raises(DenoisingError, match="marks of volumes"):
        nuisance_model(np.empty((170, 0)), 2.0, kept=np.ones(3, dtype=bool))


def test_bits_do_not_depend_on_the_number_of_threads(monkeypatch):
    series = RNG(0).standard_normal((9000, 120)).astype(np.float32)
    results = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        model = nuisance_model(RNG(1).standard_normal((120, 12)), 2.0)
        results.append((model.filtered(series), model.regressed(series)))
    for one, three in zip(*results, strict=True):
        assert np.array_equal(one, three)


@pytest.mark.parametrize("terms", [6, 12, 24])
def test_motion_terms_are_fmripreps(terms):
    motion = RNG(0).standard_normal((200, 6))
    columns, names = motion_expansion(motion, terms)
    assert columns.shape == (200, terms)
    assert len(set(names)) == terms
    assert names[0] == "trans_x"
    table = dict(zip(names, columns.T, strict=True))
    np.testing.assert_array_equal(table["rot_z"], motion[:, 5])
    if terms >= 12:
        assert np.isnan(table["rot_y_derivative1"][0])
        np.testing.assert_allclose(table["rot_y_derivative1"][1:], np.diff(motion[:, 4]))
    if terms == 24:
        np.testing.assert_allclose(table["trans_z_power2"], motion[:, 2] ** 2)
        np.testing.assert_allclose(table["trans_z_derivative1_power2"][1:], np.diff(motion[:, 2]) ** 2)
    assert nuisance_model(columns, 2.0, (0.01, 0.2)).design_rank == terms


def test_undefined_motion_terms_are_refused():
    with pytest.raises(UsageError, match="choose 6, 12 or 24"):
        motion_expansion(np.ones((9, 6)), 36)
    with pytest.raises(UsageError, match="by 6"):
        motion_expansion(np.ones((9, 5)), 6)
