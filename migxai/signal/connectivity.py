"""Regional functional connectivity strength (RFCS) from regional series."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migxai.errors import ImageError, UsageError
from migxai.signal.voxels import serial_blas

Divisor: TypeAlias = Literal["n-1", "n"]

#: Variation below this share of a series' size is rounding, not signal.
_FLAT = 1e-12


def rfcs(timeseries: ArrayLike, *, divisor: Divisor = "n-1") -> NDArray[np.float64]:
    """Mean absolute Pearson correlation of each region with all others: S(i) = sum_{j != i} |R_ij| / (N - 1).

    N counts the regions that have a series. The diagonal never enters: with ``divisor="n"`` the same sum is divided
    by N, which is how 1/N in Li et al. 2025 (doi:10.2196/72155) is read here.

    Parameters
    ----------
    timeseries
        Regional series (T, R). A column that is constant or holds NaN is a region without data.
    divisor
        ``"n-1"`` (the mean over the other regions) or ``"n"``.

    Returns
    -------
    array
        Strength (R,), 0 to 1; NaN for regions without data, and for all if fewer than two have any.

    Raises
    ------
    ImageError
        If the input is not a matrix of at least three volumes.
    UsageError
        If the divisor is neither of the two.

    Examples
    --------
    >>> wave = np.sin(np.arange(20.0))
    >>> rfcs(np.column_stack([wave, -wave, np.zeros(20)])).round(6).tolist()
    [1.0, 1.0, nan]
    """
    if divisor not in get_args(Divisor):
        raise UsageError(f"There is no RFCS divisor {divisor!r}; known are {', '.join(get_args(Divisor))}.")
    strength = np.abs(correlation_matrix(timeseries))
    np.fill_diagonal(strength, 0.0)
    missing = _without_data(np.asarray(timeseries, dtype=np.float64))
    regions = int(np.count_nonzero(~missing))
    result = np.full(len(missing), np.nan)
    if regions > 1:
        sums = strength[np.ix_(~missing, ~missing)].sum(axis=1)
        result[~missing] = sums / (regions - 1 if divisor == "n-1" else regions)
    return result


def correlation_matrix(timeseries: ArrayLike) -> NDArray[np.float64]:
    """Pearson correlation of regional series.

    Parameters
    ----------
    timeseries
        Regional series (T, R).

    Returns
    -------
    array
        Correlations (R, R), -1 to 1, exactly symmetric, 1 on the diagonal; NaN in the rows and columns of regions
        that are constant or hold NaN.

    Raises
    ------
    ImageError
        If the input is not a matrix of at least three volumes.
    """
    series = np.asarray(timeseries, dtype=np.float64)
    if series.ndim != 2 or len(series) < 3:
        raise ImageError(f"Regional series form a matrix of at least 3 volumes by regions, not {series.shape}.")
    missing = _without_data(series)
    present = series[:, ~missing] - series[:, ~missing].mean(axis=0)
    present /= np.sqrt((present * present).sum(axis=0))
    with serial_blas():
        product = present.T @ present
    product = np.clip((product + product.T) / 2, -1.0, 1.0)
    np.fill_diagonal(product, 1.0)
    result = np.full((series.shape[1],) * 2, np.nan)
    result[np.ix_(~missing, ~missing)] = product
    return result


def _without_data(series: NDArray[np.float64]) -> NDArray[np.bool_]:
    finite = np.isfinite(series).all(axis=0)
    size = np.abs(np.where(finite, series, 0.0)).max(axis=0)
    spread = np.ptp(np.where(finite, series, 0.0), axis=0)
    missing: NDArray[np.bool_] = ~finite | (spread <= _FLAT * size)
    return missing
