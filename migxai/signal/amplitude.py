"""Amplitude of low-frequency fluctuations (ALFF) and its fraction of the whole spectrum (fALFF), in four definitions.

Each definition is linear up to the modulus, so detrending, zero padding and filtering fold into one small complex
basis B (T, bins), and the amplitudes are ``|x B|``: one matrix product in place of a full FFT.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migxai.errors import UsageError
from migxai.signal.denoising import check_band, detrending_basis
from migxai.signal.voxels import FloatArray, as_mask, as_series, for_chunks, require_finite, to_grid, voxel_series

Definition: TypeAlias = Literal["rest", "dpabi", "afni", "xcpd"]
ComplexArray: TypeAlias = NDArray[np.complex128]

#: 0.01 Hz x 100 volumes x 2 s is bin 2, whatever floating point says.
_ROUNDING = 1e-9


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
        `spectral_plan`).

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


@dataclass(frozen=True)
class SpectralPlan:
    """How amplitudes follow from a series of T volumes.

    Attributes
    ----------
    band
        Basis (T, K) of the bins in the band; ALFF is ``scale * sum |x @ band|``.
    full
        Basis (T, M) of all bins but zero; fALFF is ``sum |x @ band| / sum |x @ full|``.
    scale
        Factor from the sum to the definition's ALFF.
    """

    band: ComplexArray
    full: ComplexArray
    scale: float


def spectral_plan(
    volumes: int, repetition_time: float, low: float, high: float, definition: Definition = "rest"
) -> SpectralPlan:
    """Build the bases of a definition of ALFF.

    ======= ================= ======================== ===================================== ====================
    name    detrending        FFT length N             bins of the band                      ALFF
    ======= ================= ======================== ===================================== ====================
    rest    linear            next 2^k x {1,3,5,15}    ceil(low N TR) .. floor(high N TR)    mean of 2 |X| / T
    dpabi   linear            next 2^k                 the same                              mean of 2 |X| / T
    afni    quadratic         T, after a band-pass of  nearest to low T TR .. high T TR      sum of 2 |X| / sqrt(T)
                              even length whose edge
                              bins weigh one half
    xcpd    mean only         T                        nearest to low .. just below nearest  2 x mean of the root
                                                       to high                               of the periodogram
    ======= ================= ======================== ===================================== ====================

    Sources: REST 2013 ``f_alff`` and DPABI ``y_alff_falff`` (Zang et al. 2007, doi:10.1016/j.braindev.2006.07.002),
    AFNI 3dRSFC (Taylor & Saad 2013, doi:10.1089/brain.2013.0154), XCP-D (Mehta et al. 2024,
    doi:10.1162/imag_a_00257), each verified on its program's output. fALFF (Zou et al. 2008,
    doi:10.1016/j.jneumeth.2008.04.012) is verified for dpabi and afni; for rest and xcpd, which give none here, it is
    the same ratio on their own bins.

    Parameters
    ----------
    volumes
        Length T of the series.
    repetition_time
        Seconds between volumes.
    low, high
        Edges of the band in Hz; `high` beyond the Nyquist frequency means up to it.
    definition
        One of rest, dpabi, afni, xcpd.

    Returns
    -------
    SpectralPlan

    Raises
    ------
    TimingError
        If the repetition time is not positive.
    UsageError
        If the definition is unknown, the band is empty, or the series too short for it.
    """
    check_band(repetition_time, low, high)
    if definition not in get_args(Definition):
        raise UsageError(f"There is no ALFF definition {definition!r}; known are {', '.join(get_args(Definition))}.")
    if volumes < 9:
        raise UsageError(f"{volumes} volumes are too few for a spectrum; at least 9 are needed.")
    if definition == "afni":
        return _afni(volumes, repetition_time, low, high)
    if definition == "xcpd":
        return _xcpd(volumes, repetition_time, low, high)
    length = next_length(volumes, (1, 3, 5, 15) if definition == "rest" else (1,))
    bins = _inside(length, repetition_time, low, high)
    return SpectralPlan(
        band=_detrended(_dft(volumes, length, bins), 1),
        full=_detrended(_dft(volumes, length, np.arange(1, length // 2 + 1)), 1),
        scale=2.0 / volumes / len(bins),
    )


def next_length(volumes: int, factors: tuple[int, ...]) -> int:
    """Return the smallest of factor x 2^k that is not below `volumes`."""
    return min(factor << max(0, math.ceil(math.log2(volumes / factor))) for factor in factors)


def _dft(volumes: int, length: int, bins: NDArray[np.int64]) -> ComplexArray:
    # The product is reduced modulo the length first, which keeps the phases exact.
    phase = np.outer(np.arange(volumes), bins) % length
    basis: ComplexArray = np.exp(-2j * np.pi * phase / length)
    return basis


def _detrended(basis: ComplexArray, degree: int) -> ComplexArray:
    trend = detrending_basis(basis.shape[0], degree)
    return basis - trend @ (trend.T @ basis)


def _inside(length: int, repetition_time: float, low: float, high: float) -> NDArray[np.int64]:
    duration = length * repetition_time
    first = math.ceil(low * duration - _ROUNDING)
    last = min(math.floor(high * duration + _ROUNDING), length // 2)
    if last < first:
        raise UsageError(
            f"No frequency of a series of {duration:g} s lies in {low:g} to {high:g} Hz; widen the band or use a "
            "longer run."
        )
    return np.arange(first, last + 1)


def _xcpd(volumes: int, repetition_time: float, low: float, high: float) -> SpectralPlan:
    frequencies = np.arange(volumes // 2 + 1) / (volumes * repetition_time)
    first, last = int(np.argmin(np.abs(frequencies - low))), int(np.argmin(np.abs(frequencies - high)))
    if last <= first:
        raise UsageError(f"No bin of the periodogram lies in {low:g} to {high:g} Hz; widen the band.")
    return SpectralPlan(
        band=_detrended(_dft(volumes, volumes, np.arange(first, last)), 0),
        full=_detrended(_dft(volumes, volumes, np.arange(1, volumes // 2 + 1)), 0),
        scale=2.0 * math.sqrt(2.0) / volumes / (last - first),
    )


def _afni(volumes: int, repetition_time: float, low: float, high: float) -> SpectralPlan:
    length = volumes + volumes % 2
    half = length // 2

    def passed(basis: ComplexArray, first: int, last: int, edge: float) -> ComplexArray:
        weights = np.zeros(length)
        weights[first : last + 1] = 1.0
        weights[[first, last]] *= edge
        weights[0] = 0.0
        weights[half + 1 :] = weights[1 : length - half][::-1]
        filtered: ComplexArray = np.fft.ifft(weights[:, None] * np.fft.fft(basis, length, axis=0), axis=0)[:volumes]
        return filtered

    nearest = [round(edge * volumes * repetition_time) for edge in (low, high)]
    top = volumes // 2 - 1 if volumes % 2 == 0 else (volumes - 1) // 2 - 1
    bins = np.arange(max(nearest[0], 1), min(nearest[1], top) + 1)
    first, last = round(low * length * repetition_time), min(round(high * length * repetition_time), half - 1)
    if len(bins) == 0 or last <= first:
        raise UsageError(f"No bin of the spectrum lies in {low:g} to {high:g} Hz; widen the band.")
    return SpectralPlan(
        band=_detrended(passed(_dft(volumes, volumes, bins), first, last, 0.5), 2),
        full=_detrended(passed(_dft(volumes, volumes, np.arange(1, top + 1)), 0, half - 1, 1.0), 2),
        scale=2.0 / math.sqrt(volumes),
    )
