"""Volumes before the steady state, planted."""

import numpy as np
import pytest

from migxai.errors import ImageError
from migxai.signal import count_non_steady_volumes


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
