"""ALFF and fALFF against the programs that define them, and against what must hold for any data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migxai.errors import ImageError, TimingError, UsageError
from migxai.signal import alff, alff_voxels, falff, falff_voxels
from migxai.signal.amplitude import next_length, spectral_plan

DEFINITIONS = ("rest", "dpabi", "afni", "xcpd")
CONSTANT = (4, 12, 10)
# AFNI works in single precision throughout, so its own rounding sets the tolerance.
CASES = [
    *[(function, "rest", volumes, 1e-6) for function in (alff,) for volumes in (120, 115)],
    *[(function, "dpabi", volumes, 1e-6) for function in (alff, falff) for volumes in (120, 115)],
    *[(alff, "xcpd", volumes, 1e-6) for volumes in (120, 115)],
    (alff, "afni", 120, 1e-5),
    (alff, "afni", 115, 1e-5),
    (falff, "afni", 120, 1e-5),
]


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize(("function", "definition", "volumes", "tolerance"), CASES)
def test_equals_the_defining_program(reference, function, definition, volumes, tolerance, precision):
    key = f"{definition}_{function.__name__}" + ("_T115" if volumes == 115 else "")
    expected = reference.programs[key]
    data = reference.bold[..., :volumes].astype(precision)
    found = function(data, reference.mask, reference.repetition_time, definition=definition)
    compared = reference.mask & (expected > 1e-6)
    # Programs that do not take a sample off first see rounding noise there, whose fraction means nothing.
    compared[CONSTANT] = False
    assert found.dtype == precision
    assert compared.sum() == reference.mask.sum() - 1
    assert np.abs(found[compared] / expected[compared] - 1).max() < max(tolerance, 1e-5 * (precision is np.float32))
    assert found[CONSTANT] == 0
    assert not found[~reference.mask].any()


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_an_offset_does_not_reach_single_precision(definition):
    noise = np.random.default_rng(1).standard_normal((50, 120))
    exact = alff_voxels(noise, 2.0, definition=definition)
    far = alff_voxels((noise + 2000).astype(np.float32), 2.0, definition=definition)
    # 2000 has 2^-13 between neighbouring floats: the samples themselves carry that error.
    assert np.abs(far - exact).max() < 3e-4 * exact.max()


@given(
    scale=st.floats(1e-3, 1e3),
    offset=st.floats(-1e3, 1e3),
    definition=st.sampled_from(DEFINITIONS),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_follows_scale_and_ignores_level(scale, offset, definition, seed):
    series = np.random.default_rng(seed).standard_normal((5, 60))
    base = alff_voxels(series, 2.0, definition=definition)
    np.testing.assert_allclose(
        alff_voxels(scale * series + offset, 2.0, definition=definition), scale * base, rtol=1e-7
    )
    shares = falff_voxels(series, 2.0, definition=definition)
    np.testing.assert_allclose(falff_voxels(scale * series + offset, 2.0, definition=definition), shares, rtol=1e-7)
    assert ((shares > 0) & (shares < 1)).all()


def test_a_wave_in_the_band_has_its_amplitude():
    time = np.arange(128) * 2.0
    wave = 7.0 * np.sin(2 * np.pi * 10 / 256.0 * time)[None]
    narrow = alff_voxels(wave, 2.0, low=10 / 256, high=10 / 256 + 1e-9, definition="dpabi")
    # Detrending takes a little of the wave with it.
    assert narrow[0] == pytest.approx(7.0, rel=0.01)
    assert alff_voxels(wave, 2.0, low=0.15, high=0.2, definition="dpabi")[0] < 0.1


def test_bits_do_not_depend_on_the_number_of_threads(monkeypatch):
    series = np.random.default_rng(0).standard_normal((9000, 100)).astype(np.float32)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = alff_voxels(series, 2.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert np.array_equal(one, alff_voxels(series, 2.0))


def test_integers_are_read_as_they_are():
    data = np.random.default_rng(0).integers(0, 4000, (3, 3, 3, 40)).astype(np.int16)
    found = alff(data, np.ones((3, 3, 3)), 2.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, alff(data.astype(float), np.ones((3, 3, 3)), 2.0), rtol=1e-5)


@pytest.mark.parametrize(("volumes", "length"), [(1, 1), (16, 16), (17, 20), (100, 120), (121, 128), (146, 160)])
def test_padding_is_the_shortest_of_its_form(volumes, length):
    assert next_length(volumes, (1, 3, 5, 15)) == length


def test_an_edge_on_a_bin_is_inside():
    assert spectral_plan(100, 2.0, 0.01, 0.05, "xcpd").band.shape[1] == 8
    assert spectral_plan(128, 2.0, 4 / 256, 8 / 256, "dpabi").band.shape[1] == 5


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_band_beyond_nyquist_ends_there(definition):
    series = np.random.default_rng(0).standard_normal((4, 60))
    np.testing.assert_array_equal(
        alff_voxels(series, 2.0, 0.05, 0.4, definition), alff_voxels(series, 2.0, 0.05, 9.0, definition)
    )


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"repetition_time": 0.0}, TimingError),
        ({"repetition_time": float("nan")}, TimingError),
        ({"low": 0.08, "high": 0.01}, UsageError),
        ({"low": -0.1}, UsageError),
        ({"low": 0.3, "high": 0.4}, UsageError),
        ({"low": 0.0101, "high": 0.0102}, UsageError),
        ({"definition": "spm"}, UsageError),
    ],
)
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_impossible_requests_are_refused(options, error, definition):
    given_options = {"repetition_time": 2.0, "definition": definition} | options
    with pytest.raises(error):
        alff_voxels(np.random.default_rng(0).standard_normal((2, 60)), **given_options)


def test_unusable_data_are_refused():
    data = np.random.default_rng(0).standard_normal((3, 3, 3, 40))
    with pytest.raises(ImageError, match="mask is empty"):
        alff(data, np.zeros((3, 3, 3)), 2.0)
    with pytest.raises(ImageError, match="do not fit"):
        alff(data, np.ones((3, 3, 4)), 2.0)
    data[1, 1, 1, 7] = np.nan
    with pytest.raises(ImageError, match="1 voxels hold NaN"):
        alff(data, np.ones((3, 3, 3)), 2.0)
    with pytest.raises(UsageError, match="too few"):
        alff_voxels(np.zeros((2, 5)), 2.0)
