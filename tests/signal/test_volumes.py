"""Which volumes are kept, what bridges the others, and volumes before the steady state, planted."""

import numpy as np
import pytest

from migxai.errors import DenoisingError, ImageError, UsageError
from migxai.signal import count_non_steady_volumes, kept_volumes, require_unbroken
from migxai.signal.volumes import interpolation_matrix


def level(volumes=150, drift=0.0, seed=0):
    noise = np.random.default_rng(seed).normal(0, 2, volumes)
    return 1000 + drift * np.arange(volumes) + noise


@pytest.mark.parametrize("drift", [0.0, 0.3, -0.3])
@pytest.mark.parametrize("planted", [0, 1, 3, 5])
def test_finds_the_relaxation(planted, drift):
    signal = level(drift=drift, seed=planted)
    signal[:planted] += 400 * 0.5 ** np.arange(planted)
    assert count_non_steady_volumes(signal) == planted


def test_false_alarms_are_rare():
    assert sum(count_non_steady_volumes(level(seed=seed)) > 0 for seed in range(200)) <= 8


def test_a_perfect_run_is_steady():
    assert count_non_steady_volumes(np.full(60, 1000.0)) == 0
    assert count_non_steady_volumes(np.linspace(1000, 1010, 60)) == 0


def test_a_late_spike_or_a_drop_is_no_start():
    signal = level()
    signal[6] += 300
    assert count_non_steady_volumes(signal) == 0
    signal[0] -= 300
    assert count_non_steady_volumes(signal) == 0


def test_stops_at_the_longest():
    signal = level()
    signal[:15] += 500
    assert count_non_steady_volumes(signal) == 15


@pytest.mark.parametrize("signal", [np.ones(10), np.ones((30, 2)), np.full(40, np.nan)])
def test_unusable_signals_are_refused(signal):
    with pytest.raises(ImageError, match="steady state"):
        count_non_steady_volumes(signal)


def test_volumes_beyond_the_threshold_are_left_out():
    kept = kept_volumes([np.nan, 0.1, 0.5, 0.6, 0.2], 0.5, repetition_time=2.0)
    assert kept.tolist() == [True, True, True, False, True]


def test_too_short_a_rest_is_refused():
    displacement = [0.0, 0.1, 0.9, 0.9]
    assert kept_volumes(displacement, 0.5, repetition_time=2.0, minimum_time=4.0).sum() == 2
    with pytest.raises(DenoisingError, match="Only 4 s are left"):
        kept_volumes(displacement, 0.5, repetition_time=2.0, minimum_time=5.0)
    with pytest.raises(UsageError, match="positive"):
        kept_volumes(displacement, 0.0, repetition_time=2.0)


def test_gaps_are_refused_by_name():
    require_unbroken(np.ones(5, dtype=bool), "ALFF")
    with pytest.raises(UsageError, match="ALFF needs an unbroken series, but 2 volumes"):
        require_unbroken(np.array([True, False, True, False]), "ALFF")


def test_gaps_are_bridged_and_ends_held():
    kept = np.ones(40, dtype=bool)
    kept[[0, 1, 15, 16, 39]] = False
    curve = np.linspace(-1, 2, 40) ** 3
    found = interpolation_matrix(kept) @ np.where(kept, curve, 1e6)
    np.testing.assert_allclose(found[2:39], curve[2:39], atol=1e-9)
    assert found[0] == found[1] == curve[2]
    assert found[39] == curve[38]
    np.testing.assert_allclose(interpolation_matrix(kept).sum(axis=1), 1.0)
    with pytest.raises(DenoisingError, match="Only 3 volumes"):
        interpolation_matrix(np.arange(40) < 3)
