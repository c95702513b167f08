"""Temporal band-pass as a projection onto the band's discrete Fourier components."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migxai.errors import DenoisingError, TimingError, UsageError
from migxai.signal.voxels import FloatArray, as_series, for_chunks

_ROUNDING = 1e-9


def band_basis(volumes: int, repetition_time: float, low: float, high: float) -> NDArray[np.float64]:
    """Orthonormal cosines and sines of the Fourier frequencies k / (T TR) that lie in a band.

    Parameters
    ----------
    volumes
        Length T of the series.
    repetition_time
        Seconds between volumes.
    low, high
        Edges of the band in Hz, both included; zero frequency never is.

    Returns
    -------
    array
        Basis (T, D), D the band's dimensions: 2 a frequency, 1 at the Nyquist frequency.

    Raises
    ------
    TimingError, UsageError
        If repetition time or band are impossible.
    DenoisingError
        If the run is too short to have a frequency in the band.
    """
    check_band(repetition_time, low, high)
    duration = volumes * repetition_time
    first = max(1, math.ceil(low * duration - _ROUNDING))
    last = min(math.floor(high * duration + _ROUNDING), volumes // 2)
    if last < first:
        raise DenoisingError(
            f"No frequency of a run of {duration:g} s lies in {low:g} to {high:g} Hz; widen the band or use a longer "
            "run."
        )
    phase = 2 * np.pi * (np.outer(np.arange(volumes), np.arange(first, last + 1)) % volumes) / volumes
    sines = np.sin(phase[:, :-1] if 2 * last == volumes else phase)
    basis = np.hstack([np.cos(phase), sines])
    normed: NDArray[np.float64] = basis / np.sqrt((basis * basis).sum(axis=0))
    return normed


def band_dimensions(volumes: int, repetition_time: float, low: float, high: float) -> int:
    """Return how many dimensions of a series of T volumes lie in a band.

    Examples
    --------
    >>> band_dimensions(170, 2.0, 0.01, 0.08)
    48
    """
    return int(band_basis(volumes, repetition_time, low, high).shape[1])


def bandpass(
    series: ArrayLike, repetition_time: float, low: float = 0.01, high: float = 0.08, *, detrend: bool = True
) -> FloatArray:
    """Keep what lies in a band, with its edges sharp and its phase untouched.

    Parameters
    ----------
    series
        Voxel series (V, T).
    repetition_time
        Seconds between volumes.
    low, high
        Edges of the band in Hz.
    detrend
        Remove the line of best fit first: the jump from a drift's end to its start would leak into the band.

    Returns
    -------
    array
        Filtered series (V, T), of mean zero, in the series' floating type.

    Raises
    ------
    TimingError, UsageError, DenoisingError
        As `band_basis`.
    """
    samples = as_series(series)
    basis = band_basis(samples.shape[1], repetition_time, low, high)
    return project(samples, without_trend(basis) if detrend else basis, basis.T)


def without_trend(basis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make a basis (T, D) blind to constants and straight lines."""
    trend = detrending_basis(len(basis), 1)
    result: NDArray[np.float64] = basis - trend @ (trend.T @ basis)
    return result


def project(series: FloatArray, analysis: NDArray[np.float64], synthesis: NDArray[np.float64]) -> FloatArray:
    """Return ``series @ analysis @ synthesis``, (V, T) x (T, D) x (D, S), chunk by chunk.

    `analysis` must be blind to constants: each series' first sample is taken off first, for single precision's sake.
    """
    inward, outward = analysis.astype(series.dtype), synthesis.astype(series.dtype)
    result = np.empty((len(series), synthesis.shape[1]), dtype=series.dtype)

    def task(start: int, stop: int) -> None:
        coefficients = (series[start:stop] - series[start:stop, :1]) @ inward
        np.matmul(coefficients, outward, out=result[start:stop])

    for_chunks(task, len(series))
    return result


def check_band(repetition_time: float, low: float, high: float) -> None:
    """Raise TimingError or UsageError if a repetition time (s) or a band (Hz) makes no sense."""
    if not (math.isfinite(repetition_time) and repetition_time > 0):
        raise TimingError(f"A repetition time of {repetition_time:g} s is impossible; it must be positive.")
    if not 0 <= low < high:
        raise UsageError(f"A frequency band of {low:g} to {high:g} Hz is empty; it takes 0 <= low < high.")
    if low >= 0.5 / repetition_time:
        raise UsageError(
            f"The band starts at {low:g} Hz, beyond the highest frequency of {0.5 / repetition_time:g} Hz that a "
            f"repetition time of {repetition_time:g} s can show."
        )


def detrending_basis(volumes: int, degree: int) -> NDArray[np.float64]:
    """Return orthonormal polynomials (T, degree + 1) up to a degree."""
    basis: NDArray[np.float64] = np.linalg.qr(np.vander(np.linspace(-1.0, 1.0, volumes), degree + 1, increasing=True))[
        0
    ]
    return basis
