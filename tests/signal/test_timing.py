"""Volumes that count, and times of slices."""

from __future__ import annotations

import numpy as np
import pytest

from migxai.errors import DenoisingError, ImageError, TimingError, UsageError
from migxai.signal import (
    check_slice_timing,
    correct_slice_timing,
    count_non_steady_volumes,
    kept_volumes,
    require_unbroken,
    slice_axis,
)
from migxai.signal.timing import interpolation_matrix, shift_matrix


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


TR = 2.0
INTERLEAVED = [0.0, 1.0, 0.5, 1.5]


def wave(times, frequency=0.05):
    return 500 + 20 * np.sin(2 * np.pi * frequency * times + 0.4)


def acquired(slice_timing, axis=2, volumes=120, frequency=0.05):
    """A 4-D series of one wave, each slice sampled at its own times."""
    starts = np.arange(volumes) * TR
    layers = np.stack([wave(starts + time, frequency) for time in slice_timing])
    shape = [2, 2, 2]
    shape[axis] = len(slice_timing)
    return np.ascontiguousarray(
        np.broadcast_to(np.expand_dims(layers, [a for a in range(3) if a != axis]), (*shape, volumes))
    )


@pytest.mark.parametrize("reference", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("direction", ["k", "k-", "j", "j-", "i", "i-"])
def test_every_slice_shows_the_same_moment(direction, reference):
    axis, reverse = slice_axis(direction)
    data = acquired(INTERLEAVED[::-1] if reverse else INTERLEAVED, axis)
    found = correct_slice_timing(data, INTERLEAVED, TR, direction=direction, reference=reference)
    truth = wave(np.arange(120) * TR + reference * TR)
    error = np.abs(found - truth)
    assert error[..., 5:-5].max() < 0.02  # of an amplitude of 20
    assert error.max() < 4.0  # the ends must be guessed at; linear continuation would be off as far
    assert np.abs(data - truth).max() > 3.0


def test_higher_frequencies_are_shifted_as_well():
    data = acquired(INTERLEAVED, frequency=0.2)
    found = correct_slice_timing(data, INTERLEAVED, TR)
    assert np.abs(found - wave(np.arange(120) * TR + 1, 0.2))[..., 10:-10].max() < 0.5


def test_multiband_slices_are_treated_alike():
    timing = [0.0, 1.0, 0.0, 1.0]
    found = correct_slice_timing(acquired(timing), timing, TR)
    assert np.array_equal(found[:, :, 0], found[:, :, 2])
    assert np.abs(found[:, :, 0] - found[:, :, 1])[..., 5:-5].max() < 0.02


def test_a_slice_at_the_reference_is_untouched():
    data = acquired(INTERLEAVED).astype(np.float32)
    assert np.array_equal(correct_slice_timing(data, INTERLEAVED, TR, reference=0.25)[:, :, 2], data[:, :, 2])
    np.testing.assert_allclose(shift_matrix(40, 0.0), np.eye(40), atol=1e-12)


@pytest.mark.parametrize("shift", [-1.0, -0.3, 0.5, 1.0])
@pytest.mark.parametrize("volumes", [4, 33, 120])
def test_levels_and_lines_pass(volumes, shift):
    matrix = shift_matrix(volumes, shift)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-9)
    if volumes > 100:
        ramp = np.arange(volumes)
        np.testing.assert_allclose((matrix @ ramp)[5:-5], (ramp + shift)[5:-5], atol=0.05)


def test_writes_in_place_and_keeps_the_precision():
    data = acquired(INTERLEAVED).astype(np.float32)
    fresh = correct_slice_timing(data, INTERLEAVED, TR)
    assert fresh.dtype == np.float32
    assert correct_slice_timing(data, INTERLEAVED, TR, out=data) is data
    assert np.array_equal(fresh, data)
    whole = np.rint(acquired(INTERLEAVED)).astype(np.int16)
    assert correct_slice_timing(whole, INTERLEAVED, TR).dtype == np.float32
    with pytest.raises(ImageError, match="can't hold"):
        correct_slice_timing(whole, INTERLEAVED, TR, out=whole)


@pytest.mark.parametrize(
    ("timing", "message"),
    [
        ([0.0, 1.0, 0.5], "lists 3 times, but the image has 4 slices"),
        ([0.0, 1.0, 0.5, 1.5, 1.7], "lists 5 times"),
        ([0.0, -0.1, 0.5, 1.5], "negative"),
        ([0.0, float("nan"), 0.5, 1.5], "negative or missing"),
        ([0.0, 1.0, 0.5, 2.5], "beyond the repetition time of 2 s"),
        ([0.0, 1000.0, 500.0, 1500.0], "looks like milliseconds"),
        ([0.0, 0.0, 0.0, 0.0], "all slices were acquired at 0 s"),
    ],
)
def test_impossible_times_are_refused(timing, message):
    with pytest.raises(TimingError, match=message):
        check_slice_timing(timing, 4, TR)


def test_a_slice_time_of_the_whole_repetition_time_is_possible():
    check_slice_timing([0.0, 1.0, 2.0], 3, TR)


def test_wrong_requests_are_refused():
    data = acquired(INTERLEAVED)
    with pytest.raises(TimingError, match="SliceEncodingDirection"):
        correct_slice_timing(data, INTERLEAVED, TR, direction="z")
    with pytest.raises(TimingError, match="no fraction"):
        correct_slice_timing(data, INTERLEAVED, TR, reference=1.5)
    with pytest.raises(ImageError, match="four volumes"):
        correct_slice_timing(data[..., 0], INTERLEAVED, TR)
