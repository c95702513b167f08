"""The volumes of a run in time: settled magnetisation, times of slices, and volumes left out for motion."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migxai.errors import DenoisingError, ImageError, TimingError, UsageError
from migxai.signal.voxels import BoolArray, FloatArray, for_chunks, working_dtype

#: Modified z-score that counts as an outlier (Iglewicz & Hoaglin 1993).
_LIMIT = 3.5

#: Scales a median absolute deviation to a standard deviation of normal noise.
_MAD = 1.4826


def count_non_steady_volumes(signal: ArrayLike, *, longest: int = 15) -> int:
    """Count the leading volumes whose mean intensity lies above what the rest of the run's start leads one to expect.

    The level and slow drift expected come from the median and Theil-Sen slope of the 35 volumes after the first
    `longest`; counting stops at the first volume within 3.5 robust standard deviations.

    Parameters
    ----------
    signal
        Mean intensity of each volume (T,), over the brain or the whole image.
    longest
        Volumes looked at; magnetisation settles well before 15 volumes of 2 s.

    Returns
    -------
    int
        Number of volumes to drop, 0 to `longest`.

    Raises
    ------
    ImageError
        If the signal has fewer than ``longest + 5`` volumes or holds NaN.

    Examples
    --------
    >>> level = 1000 + np.tile([-1.0, 1.0, 0.0], 20)
    >>> level[:2] += [300, 40]
    >>> count_non_steady_volumes(level)
    2
    """
    from scipy.stats import theilslopes

    level = np.asarray(signal, dtype=np.float64)
    if level.ndim != 1 or len(level) < longest + 5 or not np.isfinite(level).all():
        raise ImageError(
            f"Finding the steady state needs the finite mean intensity of at least {longest + 5} volumes, not an array "
            f"of shape {level.shape}."
        )
    times = np.arange(longest, min(longest + 35, len(level)))
    slope, intercept, _, _ = theilslopes(level[times], times)
    excess = level - (intercept + slope * np.arange(len(level)))
    # Without noise, as in a phantom, rounding must not look like an outlier.
    spread = max(_MAD * float(np.median(np.abs(excess[times]))), 1e-6 * float(np.abs(level).max()))
    settled = np.flatnonzero(excess[:longest] <= _LIMIT * spread)
    return int(settled[0]) if len(settled) else longest


def kept_volumes(
    displacement: ArrayLike, threshold: float, *, repetition_time: float, minimum_time: float | None = None
) -> BoolArray:
    """Mark the volumes whose framewise displacement stays within a threshold.

    Parameters
    ----------
    displacement
        Framewise displacement (T,) in mm; NaN, as in the first volume, counts as none.
    threshold
        Largest displacement kept, in mm.
    repetition_time
        Seconds between volumes.
    minimum_time
        Seconds that must remain.

    Returns
    -------
    array
        True for the volumes kept (T,).

    Raises
    ------
    UsageError
        If the threshold is not positive.
    DenoisingError
        If less than the minimum time remains.
    """
    if not threshold > 0:
        raise UsageError(f"A displacement threshold of {threshold:g} mm would keep nothing; it must be positive.")
    kept: BoolArray = ~(np.asarray(displacement, dtype=np.float64) > threshold)
    remaining = float(np.count_nonzero(kept) * repetition_time)
    if minimum_time is not None and remaining < minimum_time:
        raise DenoisingError(
            f"Only {remaining:g} s are left after leaving out volumes that moved more than {threshold:g} mm, and at "
            f"least {minimum_time:g} s are asked for."
        )
    return kept


def require_unbroken(kept: BoolArray, indicator: str) -> None:
    """Raise UsageError if volumes are left out: a spectrum needs evenly spaced samples."""
    missing = int(np.count_nonzero(~kept))
    if missing:
        raise UsageError(
            f"{indicator} needs an unbroken series, but {missing} volumes are left out for motion; turn "
            f"--fd-threshold off or do not ask for {indicator}."
        )


def interpolation_matrix(kept: BoolArray) -> NDArray[np.float64]:
    """Matrix (T, T) that fills the volumes left out: a cubic spline between those kept, the nearest one at the ends.

    Being linear, it treats data and nuisance columns alike, and gives each constant back.

    Raises
    ------
    DenoisingError
        If fewer than 4 volumes are kept.
    """
    from scipy.interpolate import CubicSpline

    places = np.flatnonzero(kept)
    if len(places) < 4:
        raise DenoisingError(f"Only {len(places)} volumes are left after leaving out those that moved.")
    matrix = np.zeros((len(kept), len(kept)))
    inner = np.arange(len(kept)).clip(places[0], places[-1])
    matrix[:, places] = CubicSpline(places, np.eye(len(places)))(inner)
    # The spline meets its knots up to rounding; a kept volume must pass through as it is.
    matrix[places] = np.eye(len(kept))[places]
    return matrix


#: BIDS rounds slice times to what the scanner writes; a last slice this much (s) beyond the TR is still right.
_TOLERANCE = 1e-3


def check_slice_timing(slice_timing: Sequence[float], slices: int, repetition_time: float) -> None:
    """Refuse slice times that can't be true.

    Parameters
    ----------
    slice_timing
        Seconds from the volume's start to each slice's acquisition (BIDS ``SliceTiming``).
    slices
        Number of slices along the slice axis.
    repetition_time
        Seconds between volumes.

    Raises
    ------
    TimingError
        If their number differs from the slices', one is negative, NaN or beyond the repetition time, or all are equal.
    """
    times = np.asarray(slice_timing, dtype=np.float64)
    if times.ndim != 1 or len(times) != slices:
        raise TimingError(f"SliceTiming lists {times.size} times, but the image has {slices} slices.")
    if not np.isfinite(times).all() or times.min() < 0:
        raise TimingError("SliceTiming holds a negative or missing time; times count from the start of the volume.")
    if times.max() > repetition_time + _TOLERANCE:
        unit = "; it looks like milliseconds, and BIDS asks for seconds" if times.max() > 10 * repetition_time else ""
        raise TimingError(
            f"SliceTiming goes up to {times.max():g}, beyond the repetition time of {repetition_time:g} s{unit}."
        )
    if slices > 1 and np.ptp(times) == 0:
        raise TimingError(f"SliceTiming says that all slices were acquired at {times[0]:g} s, as in a 3-D sequence.")


def slice_axis(direction: str = "k") -> tuple[int, bool]:
    """Read a BIDS ``SliceEncodingDirection``: the axis of the array, and whether times run from its end.

    Raises
    ------
    TimingError
        If it is not one of i, j, k, i-, j-, k-.

    Examples
    --------
    >>> slice_axis("k-")
    (2, True)
    """
    if not re.fullmatch("[ijk]-?", direction):
        raise TimingError(f"SliceEncodingDirection is {direction!r}; it must be one of i, j, k, i-, j-, k-.")
    return "ijk".index(direction[0]), direction.endswith("-")


def correct_slice_timing(
    data: NDArray[np.number],
    slice_timing: Sequence[float],
    repetition_time: float,
    *,
    direction: str = "k",
    reference: float = 0.5,
    out: FloatArray | None = None,
) -> FloatArray:
    """Shift every slice's series in time by Fourier phase.

    The series is continued at both ends by its point reflection about the end sample, which leaves neither a jump nor
    a kink for the shift to ring on, and its spectrum's phase is then turned; the whole is one matrix a slice time.
    Slices acquired together (multiband) share it. Afterwards volume n shows the brain at ``(n + reference) TR``, so
    the first volume starts at ``reference x TR`` (BIDS ``StartTime``).

    Parameters
    ----------
    data
        Series (X, Y, Z, T).
    slice_timing
        Seconds from the volume's start to each slice's acquisition.
    repetition_time
        Seconds between volumes.
    direction
        Axis along which slices are counted, with ``-`` if the first time belongs to the last slice.
    reference
        Moment to correct to, as a fraction of the repetition time, 0 to 1.
    out
        Where to write; may be `data` itself if that is floating, so that no second copy exists.

    Returns
    -------
    array
        Corrected series (X, Y, Z, T): `out`, or a new array of single precision (double for double).

    Raises
    ------
    TimingError
        If slice times, direction or reference are impossible.
    ImageError
        If the data are not 4-D with at least four volumes, or `out` does not fit.
    """
    if data.ndim != 4 or data.shape[3] < 4:
        raise ImageError(f"Slice timing needs a series of at least four volumes, not an array of shape {data.shape}.")
    if not 0 <= reference <= 1:
        raise TimingError(f"The slice-time reference of {reference:g} is no fraction of the repetition time (0 to 1).")
    axis, reverse = slice_axis(direction)
    check_slice_timing(slice_timing, data.shape[axis], repetition_time)
    result = np.empty(data.shape, dtype=working_dtype(data.dtype)) if out is None else out
    if result.shape != data.shape or not np.issubdtype(result.dtype, np.floating):
        raise ImageError(f"An output of shape {result.shape} and type {result.dtype} can't hold the corrected series.")
    times = np.asarray(slice_timing, dtype=np.float64)[:: -1 if reverse else 1]
    shifts = np.round(reference - times / repetition_time, 9)
    matrices = {
        shift: shift_matrix(data.shape[3], shift).astype(result.dtype) for shift in set(shifts.tolist()) - {0.0}
    }

    def task(start: int, stop: int) -> None:
        for number in range(start, stop):
            place: list[slice | int] = [slice(None)] * 3
            place[axis] = number
            layer = data[tuple(place)].astype(result.dtype)
            if shifts[number] == 0:
                result[tuple(place)] = layer
                continue
            first = layer[..., :1].copy()
            result[tuple(place)] = (layer - first) @ matrices[float(shifts[number])].T + first

    for_chunks(task, data.shape[axis], size=1)
    return result


def shift_matrix(volumes: int, shift: float) -> NDArray[np.float64]:
    """Matrix (T, T) that takes a series to its values `shift` (-1 to 1) samples later; constants pass unchanged."""
    samples = np.eye(volumes)
    first, last = samples[:1], samples[-1:]
    # Reflected this far, the shift's ringing has died out before it meets the wrap-around.
    extent = min(volumes - 1, 32)
    before, after = 2 * first - samples[extent:0:-1], 2 * last - samples[-2 : -extent - 2 : -1]
    padded = np.vstack([before, samples, after])
    # The padded series still ends where it does not begin; a slow turn back closes the circle.
    length = len(padded)
    bridge = np.linspace(0.0, 1.0, length + 2)[1:-1, None]
    bridge = (1 - np.cos(np.pi * bridge)) / 2
    closed = np.vstack([padded, padded[-1] + bridge * (padded[0] - padded[-1])])
    spectrum = np.fft.rfft(closed, axis=0)
    turn = np.exp(2j * np.pi * shift * np.fft.rfftfreq(len(closed)))[:, None]
    # At the Nyquist frequency (the length is even) only the real part of a turned phase exists.
    moved = np.fft.irfft(spectrum * turn, len(closed), axis=0)[len(before) : len(before) + volumes]
    result: NDArray[np.float64] = moved
    return result
