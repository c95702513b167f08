"""Amplitude of low-frequency fluctuations (ALFF) and its fraction of the whole spectrum (fALFF)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from migxai.signal._checks import FloatArray, as_mask, as_series, require_finite, to_grid, voxel_series
from migxai.signal._parallel import for_chunks
from migxai.signal.spectrum import ComplexArray, Definition, spectral_plan


def alff(
    data: ArrayLike,
    mask: ArrayLike,
    repetition_time: float,
    low: float = 0.01,
    high: float = 0.08,
    definition: Definition = "rest",
) -> FloatArray:
    """Mean amplitude of the fluctuations in a band, voxel by voxel, not normalised.

    Parameters
    ----------
    data
        Series (X, Y, Z, T), not band-passed.
    mask
        Voxels to compute (X, Y, Z), non-zero inside.
    repetition_time
        Seconds between volumes.
    low, high
        Edges of the band in Hz.
    definition
        Whose detrending, padding, bins and scale: rest, dpabi, afni or xcpd (see
        `migxai.signal.spectrum.spectral_plan`).

    Returns
    -------
    array
        Map (X, Y, Z) in the units of the data, zero outside the mask and in constant voxels.

    Raises
    ------
    ImageError
        If the mask is empty or does not fit, or a voxel in it holds NaN or infinite samples.
    TimingError, UsageError
        If repetition time, band or definition are impossible.

    Examples
    --------
    >>> time = np.arange(100) * 2.0
    >>> wave = 3 * np.sin(2 * np.pi * 0.05 * time).reshape(1, 1, 1, -1)
    >>> float(alff(wave, np.ones((1, 1, 1)), 2.0, low=0.05, high=0.05 + 1e-6, definition="rest")[0, 0, 0].round(1))
    3.0
    """
    inside = as_mask(mask)
    return to_grid(alff_voxels(voxel_series(data, inside), repetition_time, low, high, definition), inside)


def falff(
    data: ArrayLike,
    mask: ArrayLike,
    repetition_time: float,
    low: float = 0.01,
    high: float = 0.08,
    definition: Definition = "rest",
) -> FloatArray:
    """Share of the amplitude spectrum that lies in a band, voxel by voxel.

    Parameters and errors are those of `alff`. Band-passed data give about 1 everywhere: use the unfiltered series.

    Returns
    -------
    array
        Map (X, Y, Z), 0 to 1, zero outside the mask and in constant voxels.
    """
    inside = as_mask(mask)
    return to_grid(falff_voxels(voxel_series(data, inside), repetition_time, low, high, definition), inside)


def alff_voxels(
    series: ArrayLike, repetition_time: float, low: float = 0.01, high: float = 0.08, definition: Definition = "rest"
) -> FloatArray:
    """Compute `alff` of voxel series (V, T); returns (V,) in the series' floating type."""
    samples = as_series(series)
    plan = spectral_plan(samples.shape[1], repetition_time, low, high, definition)
    result = _amplitude_sums(samples, plan.band) * samples.dtype.type(plan.scale)
    require_finite(result, "ALFF")
    return result


def falff_voxels(
    series: ArrayLike, repetition_time: float, low: float = 0.01, high: float = 0.08, definition: Definition = "rest"
) -> FloatArray:
    """Compute `falff` of voxel series (V, T); returns (V,) in the series' floating type."""
    samples = as_series(series)
    plan = spectral_plan(samples.shape[1], repetition_time, low, high, definition)
    band = _amplitude_sums(samples, plan.band)
    full = _amplitude_sums(samples, plan.full)
    require_finite(full, "fALFF")
    return np.divide(band, full, out=np.zeros_like(band), where=full > 0)


def _amplitude_sums(series: FloatArray, basis: ComplexArray) -> FloatArray:
    """Sum |x @ basis| over the basis' columns for every row x."""
    bins = basis.shape[1]
    parts = np.hstack([basis.real, basis.imag]).astype(series.dtype)
    sums = np.empty(len(series), dtype=series.dtype)

    def task(start: int, stop: int) -> None:
        # Every basis is blind to a constant; taking one sample off first saves single precision from the mean.
        with np.errstate(invalid="ignore"):
            product = (series[start:stop] - series[start:stop, :1]) @ parts
            product *= product
            power = product[:, :bins]
            power += product[:, bins:]
            np.sqrt(power, out=power)
            power.sum(axis=1, out=sums[start:stop])

    for_chunks(task, len(series))
    return sums
