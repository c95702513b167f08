"""ReHo against REST, DPABI, C-PAC and AFNI, and against what must hold for any data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation
from scipy.stats import rankdata

from migxai.errors import ImageError, UsageError
from migxai.signal import reho, reho_voxels


def plain_w(series, corrected=False):
    """Kendall's W of (k, T) from the textbook."""
    raters, volumes = series.shape
    ranks = rankdata(series, axis=1)
    sums = ranks.sum(axis=0)
    spread = ((sums - sums.mean()) ** 2).sum()
    ties = 0.0
    if corrected:
        ties = sum((count**3.0 - count).sum() for count in (np.unique(row, return_counts=True)[1] for row in series))
    return 12 * spread / (raters**2 * (volumes**3 - volumes) - raters * ties)


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize(("program", "neighbours"), [("rest", 27), ("dpabi", 27), ("dpabi", 19), ("dpabi", 7)])
def test_equals_rest_and_dpabi(reference, program, neighbours, precision):
    found = reho(reference.bold.astype(precision), reference.mask, neighbours)
    assert np.abs(found - reference.programs[f"{program}_reho{neighbours}"]).max() < 1e-12


@pytest.mark.parametrize("neighbours", [27, 19, 7])
def test_equals_cpac_where_nothing_ties(reference, neighbours):
    tied = np.zeros(reference.mask.shape, dtype=bool)
    tied[reference.mask] = (np.diff(np.sort(reference.bold[reference.mask], axis=1)) == 0).any(axis=1)
    compared = reference.mask & ~binary_dilation(tied, np.ones((3, 3, 3)))
    found = reho(reference.bold, reference.mask, neighbours)
    assert compared.sum() > 2000
    assert np.abs(found - reference.programs[f"cpac_reho{neighbours}"])[compared].max() < 1e-7


def test_agrees_with_afni_on_the_border_and_in_ties(reference):
    found = reho(reference.bold, reference.mask, 27, tie_correction=True, border="partial")
    compared = reference.mask.copy()
    compared[3:6, 11:14, 9:12] = False  # around the constant voxel
    difference = np.abs(found - reference.programs["afni_reho27_scaled1e4_input"])[compared]
    # AFNI looks for ties in samples cut to whole numbers and stores single precision.
    assert difference.max() < 5e-4
    uncorrected = reho(reference.bold, reference.mask, 27, border="partial")
    assert np.abs(uncorrected - reference.programs["afni_reho27_scaled1e4_input"])[compared].max() > 1e-3


@pytest.mark.parametrize("tie_correction", [False, True])
@pytest.mark.parametrize(("neighbours", "reach"), [(7, 1), (19, 2), (27, 3)])
@pytest.mark.parametrize("levels", [None, 5])
def test_is_kendalls_w(neighbours, reach, tie_correction, levels):
    rng = np.random.default_rng(neighbours)
    data = rng.standard_normal((5, 4, 6, 30)) if levels is None else rng.integers(0, levels, (5, 4, 6, 30)) * 1.0
    mask = rng.random((5, 4, 6)) < 0.7
    found = reho(data, mask, neighbours, tie_correction, border="partial")
    places = np.argwhere(mask)
    for place in places:
        close = np.abs(places - place)
        rows = places[(close.max(axis=1) <= 1) & (close.sum(axis=1) <= reach)]
        expected = plain_w(data[tuple(rows.T)], corrected=tie_correction)
        assert found[tuple(place)] == pytest.approx(expected, abs=1e-12)
    assert not found[~mask].any()


@given(seed=st.integers(0, 999), levels=st.sampled_from([None, 2, 7]), corrected=st.booleans())
@settings(max_examples=40, deadline=None)
def test_stays_in_bounds_and_sees_order_only(seed, levels, corrected):
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((3, 3, 3, 12)) if levels is None else rng.integers(0, levels, (3, 3, 3, 12)) - 1.0
    found = reho(data, np.ones((3, 3, 3)), tie_correction=corrected, border="partial")
    assert (found >= 0).all()
    assert (found <= 1 + 1e-12).all()
    # A rising function of one's own for every voxel leaves all ranks as they are; halving and doubling are exact.
    rising = data * np.exp2(rng.integers(-3, 4, (3, 3, 3, 1)))
    for bent in (rising, rising.astype(np.float32) if levels else np.arctan(data)):
        assert np.array_equal(found, reho(bent, np.ones((3, 3, 3)), tie_correction=corrected, border="partial"))


def test_identical_neighbours_agree_wholly():
    data = np.broadcast_to(np.random.default_rng(0).standard_normal(25), (4, 4, 4, 25))
    np.testing.assert_allclose(reho(data, np.ones((4, 4, 4)), border="partial"), 1.0, rtol=1e-14)


def test_the_border_is_zero_or_partial():
    data = np.random.default_rng(0).standard_normal((5, 6, 7, 20))
    zero, partial = (reho(data, np.ones((5, 6, 7)), border=border) for border in ("zero", "partial"))
    inner = (slice(1, -1),) * 3
    assert np.array_equal(zero[inner], partial[inner])
    assert np.count_nonzero(zero) == zero[inner].size
    assert partial.min() > 0


def test_constant_voxels_are_kept_or_excluded():
    data = np.random.default_rng(0).standard_normal((3, 3, 3, 20))
    data[0, 0, 0] = 4.0
    mask = np.ones((3, 3, 3))
    without = mask.copy()
    without[0, 0, 0] = 0
    kept = reho(data, mask, border="partial")
    assert kept[1, 1, 1] == pytest.approx(plain_w(data.reshape(27, 20)))
    excluded = reho(data, mask, border="partial", constant="exclude")
    assert np.array_equal(excluded, reho(data, without, border="partial"))
    assert excluded[0, 0, 0] == 0


def test_only_constant_voxels_give_zero_and_not_nan():
    assert not reho(np.ones((3, 3, 3, 9)), np.ones((3, 3, 3)), tie_correction=True, border="partial").any()


def test_negative_zero_ties_with_zero():
    data = np.array([[0.0, -0.0, 1.0, 2.0], [0.0, 0.0, 1.0, 2.0]], dtype=np.float32)
    found = reho_voxels(data, np.ones((2, 1, 1)), border="partial")
    assert np.array_equal(found, reho_voxels(np.abs(data), np.ones((2, 1, 1)), border="partial"))


def test_long_series_do_not_overflow_their_ranks():
    wave = np.arange(20000.0)
    data = np.broadcast_to(wave, (3, 3, 3, 20000))
    np.testing.assert_allclose(reho(data, np.ones((3, 3, 3)))[1, 1, 1], 1.0, rtol=1e-12)


def test_bits_do_not_depend_on_the_number_of_threads(monkeypatch):
    data = np.random.default_rng(0).standard_normal((16, 16, 16, 40)).astype(np.float32)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = reho(data, np.ones((16, 16, 16)))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert np.array_equal(one, reho(data, np.ones((16, 16, 16))))


def test_wrong_requests_are_refused():
    data, mask = np.random.default_rng(0).standard_normal((3, 3, 3, 20)), np.ones((3, 3, 3))
    with pytest.raises(UsageError, match="neighbours 26"):
        reho(data, mask, 26)
    with pytest.raises(UsageError, match="border"):
        reho(data, mask, border="wrap")
    with pytest.raises(UsageError, match="constant voxels"):
        reho(data, mask, constant="drop")
    with pytest.raises(ImageError, match="do not fit"):
        reho_voxels(data.reshape(27, 20)[:-1], mask)
    with pytest.raises(ImageError, match="two volumes"):
        reho(data[..., :1], mask)
    data[0, 1, 2, 3] = np.inf
    with pytest.raises(ImageError, match="NaN or infinite"):
        reho(data, mask)
