"""Slice timing on waves whose true values between the samples are known."""

import numpy as np
import pytest

from migxai.errors import ImageError, TimingError
from migxai.signal import check_slice_timing, correct_slice_timing, slice_axis
from migxai.signal.slicetiming import shift_matrix

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
