"""Nuisance regression and band-pass, with a filter that both data and regressors go through."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migxai.errors import DenoisingError, TimingError, UsageError
from migxai.signal.timing import interpolation_matrix
from migxai.signal.voxels import BoolArray, FloatArray, as_series, for_chunks, serial_blas

_ROUNDING = 1e-9


def band_basis(volumes: int, repetition_time: float, low: float, high: float) -> NDArray[np.float64]:
    """Return an orthonormal basis (T, D) of the Fourier frequencies k / (T TR) from `low` to `high` Hz, without zero.

    D counts two dimensions a frequency, and one at the Nyquist frequency. What `check_band` refuses raises its errors,
    and a run too short to have a frequency in the band a DenoisingError.
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


MotionTerms: TypeAlias = Literal[6, 12, 24]

#: Residual degrees of freedom under which a run is doubtful, and under which it is refused.
DOF_WARNING, DOF_MINIMUM = 30, 10

#: Directions weaker than this, beside the strongest, are rounding.
_RANK_TOLERANCE = 1e-8

_PARAMETERS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")


@dataclass(frozen=True)
class NuisanceModel:
    """A nuisance model fitted to the volumes kept, ready to be applied to any number of voxels.

    Each method makes one new matrix, so that a caller never holds more than the series and one result.

    Attributes
    ----------
    kept
        Volumes that were fitted and are returned (T,).
    band_dimensions
        Dimensions of the band that the volumes kept leave.
    design_rank
        Rank of the filtered design.
    residual_dof
        `band_dimensions` minus `design_rank`.
    warning
        A sentence if `residual_dof` is under 30, else None.
    """

    kept: BoolArray
    band_dimensions: int
    design_rank: int
    residual_dof: int
    warning: str | None
    _confounds: NDArray[np.float64]
    _analysis: NDArray[np.float64]
    _synthesis: NDArray[np.float64]

    def regressed(self, series: ArrayLike) -> FloatArray:
        """Return series (V, T) less mean, line and nuisance, unfiltered: (V, kept). For ALFF and fALFF."""
        return _residuals(self._fitting(series), self._confounds, self.kept)

    def filtered(self, series: ArrayLike) -> FloatArray:
        """Return series (V, T) band-passed, less the band-passed nuisance: (V, kept). For ReHo and RFCS."""
        return project(self._fitting(series), self._analysis, self._synthesis)

    def _fitting(self, series: ArrayLike) -> FloatArray:
        samples = as_series(series)
        if samples.shape[1] != len(self.kept):
            raise DenoisingError(f"Series of {samples.shape[1]} volumes do not fit a model of {len(self.kept)}.")
        return samples


def nuisance_model(
    design: ArrayLike,
    repetition_time: float,
    band: tuple[float, float] = (0.01, 0.08),
    *,
    kept: BoolArray | None = None,
) -> NuisanceModel:
    """Set up nuisance regression and band-pass so that neither undoes the other.

    Data and nuisance columns are detrended and filtered alike, then the filtered columns are regressed out; regressing
    unfiltered columns from filtered data would bring back what the filter took (Lindquist et al. 2019,
    doi:10.1002/hbm.24528). Volumes left out are bridged by a cubic spline in data and columns before the filter, and
    take no part in any fit and in no result.

    Parameters
    ----------
    design
        Nuisance columns (T, P), without constant or trend, which are always modelled. NaN at a column's start (a
        derivative has no first value) counts as 0.
    repetition_time
        Seconds between volumes.
    band
        Edges of the band in Hz.
    kept
        Volumes to use (T,); default all.

    Returns
    -------
    NuisanceModel

    Raises
    ------
    DenoisingError
        If the design holds other NaN, or fewer than 10 residual degrees of freedom are left.
    """
    columns = clean_design(design)
    volumes = len(columns)
    keep = np.ones(volumes, dtype=bool) if kept is None else np.asarray(kept, dtype=bool)
    if keep.shape != (volumes,):
        raise DenoisingError(f"{keep.size} marks of volumes to keep do not fit a design of {volumes} volumes.")
    with serial_blas():
        basis = band_basis(volumes, repetition_time, *band)
        inward = without_trend(basis)
        outward = basis[keep]
        if not keep.all():
            inward = interpolation_matrix(keep).T @ inward
        filtered = _scaled(outward @ (inward.T @ columns), columns)
        confounds = _orthonormal(filtered)
        synthesis = outward.T - (outward.T @ confounds) @ confounds.T
        # Volumes left out take their share of the band with them, though interpolation hides it from the rank.
        dimensions = int(basis.shape[1] * np.count_nonzero(keep) / volumes)
        unfiltered = _with_trend(columns[keep], np.flatnonzero(keep))
    freedom = dimensions - confounds.shape[1]
    return NuisanceModel(
        kept=keep,
        band_dimensions=dimensions,
        design_rank=confounds.shape[1],
        residual_dof=freedom,
        warning=check_freedom(freedom, dimensions, confounds.shape[1]),
        _confounds=unfiltered,
        _analysis=inward,
        _synthesis=synthesis,
    )


def check_freedom(freedom: int, dimensions: int, rank: int) -> str | None:
    """Return a warning if few residual degrees of freedom are left; raise DenoisingError if too few."""
    counted = f"{freedom} residual degrees of freedom are left ({dimensions} in the band less {rank} nuisance terms)"
    if freedom < DOF_MINIMUM:
        raise DenoisingError(
            f"Only {counted}, and at least {DOF_MINIMUM} are needed; use fewer nuisance terms (--motion-terms), a "
            "wider band or a longer run."
        )
    return f"Only {counted}; below {DOF_WARNING}, indicators are noisy." if freedom < DOF_WARNING else None


def regress(series: ArrayLike, design: ArrayLike) -> FloatArray:
    """Residuals of voxel series after least squares on a design and a constant.

    Parameters
    ----------
    series
        Voxel series (V, T).
    design
        Columns (T, P); NaN at a column's start counts as 0. Columns may depend on each other.

    Returns
    -------
    array
        Residuals (V, T), of mean zero, in the series' floating type.

    Raises
    ------
    DenoisingError
        If the design holds other NaN or does not fit the series.
    """
    samples, columns = as_series(series), clean_design(design)
    if len(columns) != samples.shape[1]:
        raise DenoisingError(f"A design of {len(columns)} volumes does not fit series of {samples.shape[1]}.")
    centred = columns - columns.mean(axis=0)
    constant = np.full((len(columns), 1), len(columns) ** -0.5)
    with serial_blas():
        basis = np.hstack([constant, _orthonormal(_scaled(centred, columns))])
    return _residuals(samples, basis, np.ones(len(columns), dtype=bool))


def clean_design(design: ArrayLike) -> NDArray[np.float64]:
    """Return nuisance columns (T, P) with leading NaN set to 0; raise DenoisingError for any other NaN."""
    columns = np.array(design, dtype=np.float64)
    if columns.ndim != 2:
        raise DenoisingError(f"Nuisance columns form a matrix of volumes by columns, not {columns.shape}.")
    leading = np.logical_and.accumulate(np.isnan(columns), axis=0)
    columns[leading] = 0.0
    bad = np.flatnonzero(~np.isfinite(columns).all(axis=0) | leading.all(axis=0))
    if len(bad):
        numbers = ", ".join(str(column + 1) for column in bad)
        raise DenoisingError(f"Nuisance columns with missing or infinite values beyond their start: {numbers}.")
    return columns


def motion_expansion(parameters: ArrayLike, terms: MotionTerms = 24) -> tuple[NDArray[np.float64], list[str]]:
    """Expand six motion parameters in fMRIPrep's form and order.

    Parameters
    ----------
    parameters
        Translations in mm and rotations in radians (T, 6), in the order x, y, z.
    terms
        6: as they are. 12: with their backward differences. 24: with the squares of both as well (Satterthwaite
        et al. 2013, doi:10.1016/j.neuroimage.2012.08.052, after Friston et al. 1996).

    Returns
    -------
    array
        Columns (T, terms); the differences have NaN in the first volume.
    list of str
        Their names, such as ``trans_x_derivative1_power2``.

    Raises
    ------
    UsageError
        If the number of terms or the shape is none of these.
    """
    motion = np.asarray(parameters, dtype=np.float64)
    if terms not in get_args(MotionTerms):
        raise UsageError(f"{terms} motion terms are not defined; choose 6, 12 or 24.")
    if motion.ndim != 2 or motion.shape[1] != 6:
        raise UsageError(f"Motion parameters form a matrix of volumes by 6, not {motion.shape}.")
    change = np.vstack([np.full((1, 6), np.nan), np.diff(motion, axis=0)])
    forms = [("", motion), ("_derivative1", change), ("_power2", motion**2), ("_derivative1_power2", change**2)]
    forms = forms[: {6: 1, 12: 2, 24: 4}[terms]]
    columns = [values[:, place] for place in range(6) for _, values in forms]
    names = [name + suffix for name in _PARAMETERS for suffix, _ in forms]
    return np.column_stack(columns), names


def _scaled(columns: NDArray[np.float64], originals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring columns to length 1, and to 0 where nothing but rounding is left of the original."""
    lengths = np.linalg.norm(columns, axis=0)
    negligible = lengths <= _RANK_TOLERANCE * np.linalg.norm(originals, axis=0)
    scaled: NDArray[np.float64] = columns / np.where(negligible, 1.0, lengths) * ~negligible
    return scaled


def _orthonormal(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal basis (T, rank) of the columns' span."""
    if not columns.any():
        return columns[:, :0]
    left, strengths, _ = np.linalg.svd(columns, full_matrices=False)
    basis: NDArray[np.float64] = left[:, strengths > _RANK_TOLERANCE * strengths[0]]
    return basis


def _with_trend(columns: NDArray[np.float64], times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Orthonormal basis of constant, line and columns."""
    trend = np.linalg.qr(np.column_stack([np.ones(len(times)), times - times.mean()]))[0]
    rest = columns - trend @ (trend.T @ columns)
    return np.hstack([trend, _orthonormal(_scaled(rest, columns))])


def _residuals(series: FloatArray, basis: NDArray[np.float64], kept: BoolArray) -> FloatArray:
    """Take the span of an orthonormal basis (kept, r), constants in it, out of series (V, T); returns (V, kept)."""
    inward = basis.astype(series.dtype)
    result = np.empty((len(series), len(basis)), dtype=series.dtype)

    def task(start: int, stop: int) -> None:
        # One sample is taken off first, so that single precision is spent on the fluctuations and not on the mean.
        np.subtract(series[start:stop, kept], series[start:stop, :1], out=result[start:stop])
        result[start:stop] -= (result[start:stop] @ inward) @ inward.T

    for_chunks(task, len(series))
    return result
