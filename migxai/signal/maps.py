"""Maps of voxels and values of regions: smoothing, normalisation, means of regions, and correlations between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migxai.errors import AtlasError, ImageError, UsageError
from migxai.signal.voxels import BoolArray, FloatArray, as_mask, as_series, for_chunks, serial_blas, working_dtype

#: Full width at half maximum of a Gaussian, in standard deviations.
_FWHM = math.sqrt(8.0 * math.log(2.0))

#: Volumes smoothed at a time: neighbours in memory, so that a cache line of the voxel matrix serves several.
_BLOCK = 8


def smooth(series: ArrayLike, mask: ArrayLike, voxel_sizes: Sequence[float], fwhm: float) -> FloatArray:
    """Smooth every volume with a Gaussian that sees the mask only.

    What is smoothed is divided by the smoothed mask: a voxel becomes the weighted mean of its neighbours within the
    mask, so that the brain's edge keeps its level instead of sinking towards the zeros outside.

    Parameters
    ----------
    series
        Voxel series (V, T), rows in C order of the mask.
    mask
        Voxels (X, Y, Z), non-zero inside.
    voxel_sizes
        Edge lengths of a voxel in mm (3,).
    fwhm
        Full width at half maximum in mm; 0 leaves the series as it is.

    Returns
    -------
    array
        Smoothed series (V, T), a new array in the series' floating type.

    Raises
    ------
    ImageError
        If series and mask do not fit.
    UsageError
        If the width is negative or a voxel size is not positive.
    """
    from scipy.ndimage import gaussian_filter

    samples, inside = as_series(series), as_mask(mask)
    if len(samples) != np.count_nonzero(inside):
        raise ImageError(f"{len(samples)} voxel series do not fit a mask of {np.count_nonzero(inside)} voxels.")
    if not (math.isfinite(fwhm) and fwhm >= 0) or len(voxel_sizes) != 3 or min(voxel_sizes) <= 0:
        raise UsageError(f"A smoothing width of {fwhm:g} mm on voxels of {tuple(voxel_sizes)} mm is impossible.")
    if fwhm == 0:
        return samples.copy()
    corner = tuple(slice(axis.min(), axis.max() + 1) for axis in np.nonzero(inside))
    inside = inside[corner]
    sigma = [fwhm / _FWHM / size for size in voxel_sizes]
    weights = gaussian_filter(inside.astype(samples.dtype), sigma, mode="constant")[inside]
    result = np.empty_like(samples)

    def task(start: int, stop: int) -> None:
        block = np.zeros((stop - start, *inside.shape), dtype=samples.dtype)
        block[:, inside] = samples[:, start:stop].T
        for volume in block:
            gaussian_filter(volume, sigma, mode="constant", output=volume)
        smoothed = block[:, inside]
        smoothed /= weights
        result[:, start:stop] = smoothed.T

    for_chunks(task, samples.shape[1], size=_BLOCK)
    return result


def mean_normalised(values: ArrayLike, mask: ArrayLike, *, count_shell: bool = False) -> FloatArray:
    """Divide a map by its mean in the mask (mALFF, mReHo).

    Parameters
    ----------
    values
        Map (X, Y, Z).
    mask
        Voxels that count (X, Y, Z), non-zero inside.
    count_shell
        Whether zeros on the outermost shell of the grid, where ReHo with ``border="zero"`` computes nothing, count in
        the mean, as they do in REST. By default they do not. They stay zero either way.

    Returns
    -------
    array
        Map (X, Y, Z) of mean 1 over the voxels that count, zero outside the mask.

    Raises
    ------
    ImageError
        If the map does not fit the mask, has no voxel that counts, or its mean there is not positive.
    """
    grid, inside, counted = _prepare(values, mask, count_shell)
    mean = float(grid[counted].mean(dtype=np.float64))
    if not (np.isfinite(mean) and mean > 0):
        raise ImageError(f"A map can't be divided by its mean in the mask, which is {mean:g}.")
    return _inside(grid / grid.dtype.type(mean), inside)


def z_scored(values: ArrayLike, mask: ArrayLike, *, count_shell: bool = False) -> FloatArray:
    """Subtract a map's mean in the mask and divide by its standard deviation (n - 1) there.

    Parameters and errors are those of `mean_normalised`. Voxels of the shell that do not count become zero, the mean.
    """
    grid, inside, counted = _prepare(values, mask, count_shell)
    sample = grid[counted].astype(np.float64)
    spread = float(sample.std(ddof=1)) if len(sample) > 1 else 0.0
    if not (np.isfinite(spread) and spread > 0):
        raise ImageError("A map of one value throughout the mask has no z-scores.")
    scored = ((grid - sample.mean()) / spread).astype(grid.dtype)
    return _inside(scored, inside if count_shell else counted)


def _prepare(values: ArrayLike, mask: ArrayLike, count_shell: bool) -> tuple[FloatArray, BoolArray, BoolArray]:
    inside = as_mask(mask)
    grid = np.asarray(values)
    grid = grid.astype(working_dtype(grid.dtype), copy=False)
    if grid.shape != inside.shape:
        raise ImageError(f"A map of shape {grid.shape} does not fit a mask of shape {inside.shape}.")
    counted = inside.copy()
    if not count_shell:
        inner = np.zeros_like(inside)
        inner[1:-1, 1:-1, 1:-1] = True
        counted &= inner | (grid != 0)
    if not counted.any():
        raise ImageError("No voxel of the mask lies within the grid's outermost shell, where the map is zero.")
    return grid, inside, counted


def _inside(grid: FloatArray, mask: BoolArray) -> FloatArray:
    return np.where(mask, grid, grid.dtype.type(0))


def region_means(series: ArrayLike, labels: ArrayLike, indices: ArrayLike) -> NDArray[np.float64]:
    """Mean series of each region.

    Parameters
    ----------
    series
        Voxel series (V, T).
    labels
        The region each voxel belongs to (V,), 0 for none.
    indices
        Labels of the regions wanted, in the order wanted (R,).

    Returns
    -------
    array
        Series (T, R) in double precision; all NaN for a region without voxels.

    Raises
    ------
    AtlasError
        If there is not one label for each voxel.
    """
    from scipy.sparse import csr_array

    samples = as_series(series)
    wanted = np.asarray(indices, dtype=np.int64)
    members, bounds = _members(_whole(labels), wanted)
    if len(samples) != np.size(labels):
        raise AtlasError(f"{np.size(labels)} voxel labels do not fit {len(samples)} voxel series.")
    membership = csr_array((np.ones(len(members)), members, bounds), shape=(len(wanted), len(samples)))
    sums: NDArray[np.float64] = np.asarray(membership @ samples.astype(np.float64))
    return _divided(sums, np.diff(bounds)[:, None]).T


def region_values(values: ArrayLike, labels: ArrayLike, indices: ArrayLike) -> NDArray[np.float64]:
    """Mean of a map (any shape) in each region of labels of the same shape; (R,), NaN for a region without voxels."""
    numbers = np.asarray(values, dtype=np.float64).ravel()
    found = _whole(labels).ravel()
    if len(numbers) != len(found):
        raise AtlasError(f"{len(found)} labels do not fit a map of {len(numbers)} values.")
    members, bounds = _members(found, np.asarray(indices, dtype=np.int64))
    sums = np.array([numbers[members[a:b]].sum() for a, b in pairwise(bounds)])
    return _divided(sums, np.diff(bounds))


def region_coverage(atlas: ArrayLike, mask: ArrayLike, indices: ArrayLike) -> NDArray[np.float64]:
    """Share of each region's voxels on the grid that lie within the mask.

    Parameters
    ----------
    atlas
        Labels on the grid of the data (X, Y, Z), 0 outside.
    mask
        Voxels that have data (X, Y, Z), non-zero inside.
    indices
        Labels of the regions (R,).

    Returns
    -------
    array
        Coverage (R,), 0 to 1; NaN for a region that has no voxel on the grid at all.

    Raises
    ------
    AtlasError
        If atlas and mask differ in shape.
    """
    labels, inside = _whole(atlas), as_mask(mask)
    if labels.shape != inside.shape:
        raise AtlasError(f"An atlas of shape {labels.shape} does not fit a mask of shape {inside.shape}.")
    return region_values(inside, labels, indices)


def covered_means(
    volume: ArrayLike, labels: ArrayLike, indices: ArrayLike, covered: ArrayLike, min_coverage: float = 0.5
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average a map (X, Y, Z) over the covered part of each region.

    Parameters
    ----------
    labels, indices
        Atlas on the map's grid (X, Y, Z), 0 for none, and the labels of the regions in the order wanted, (R,).
    covered
        Where the subject has data (X, Y, Z); voxels that are not finite count as not covered.

    Returns
    -------
    means
        (R,), NaN for regions covered by less than `min_coverage` or not at all: a mean over a rim would pass for one
        over the region.
    coverage
        Share of each region's voxels that is covered, (R,), 0 to 1; 0 for a region without a voxel on the grid.

    Raises
    ------
    AtlasError
        If the shapes differ.
    """
    values = np.asarray(volume)
    if values.shape != np.shape(labels) or values.shape != np.shape(covered):
        raise AtlasError(
            f"A map of shape {values.shape}, an atlas of shape {np.shape(labels)} and a mask of shape "
            f"{np.shape(covered)} do not fit each other."
        )
    inside = np.asarray(covered, dtype=bool) & np.isfinite(values)
    wanted = np.asarray(indices)
    means = region_values(values[inside], np.asarray(labels)[inside], wanted)
    # `region_coverage` refuses an empty mask, but a map without any data covers nothing of every region.
    coverage = np.nan_to_num(region_coverage(labels, inside, wanted)) if inside.any() else np.zeros(len(wanted))
    means[coverage < min_coverage] = np.nan
    return means, coverage


def paint(values: ArrayLike, atlas: ArrayLike, indices: ArrayLike, *, missing: float = np.nan) -> NDArray[np.float64]:
    """Give every voxel the value of its region.

    Parameters
    ----------
    values
        One value for each region (R,).
    atlas
        Labels (X, Y, Z).
    indices
        Labels that the values belong to (R,).
    missing
        What a region whose value is NaN is painted with: by default NaN, so that no coverage never looks like a low
        value.

    Returns
    -------
    array
        Map (X, Y, Z), zero outside the regions.

    Raises
    ------
    AtlasError
        If values and indices differ in number.
    """
    numbers = np.asarray(values, dtype=np.float64)
    wanted = np.asarray(indices, dtype=np.int64)
    if numbers.shape != wanted.shape:
        raise AtlasError(f"{numbers.size} regional values do not fit {wanted.size} regions.")
    labels = _whole(atlas)
    order = np.argsort(wanted)
    place = np.searchsorted(wanted[order], labels).clip(max=len(wanted) - 1)
    known = wanted[order][place] == labels
    painted = np.where(np.isnan(numbers), missing, numbers)[order][place]
    result: NDArray[np.float64] = np.where(known, painted, 0.0)
    return result


def _whole(labels: ArrayLike) -> NDArray[np.int64]:
    """Labels as whole numbers, whatever type the image they came from had."""
    found: NDArray[Any] = np.asarray(labels)
    whole: NDArray[np.int64] = np.rint(found).astype(np.int64)
    if not np.array_equal(whole, found):
        raise AtlasError("The atlas holds values that are not whole numbers; resample it by nearest neighbour.")
    return whole


def _members(labels: NDArray[np.int64], indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List the voxels of each region one after the other, and where each region's start (R + 1)."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    starts = np.searchsorted(ordered, indices, side="left")
    stops = np.searchsorted(ordered, indices, side="right")
    bounds = np.concatenate([[0], np.cumsum(stops - starts)])
    pieces = [order[a:b] for a, b in zip(starts, stops, strict=True)]
    return (np.concatenate(pieces) if pieces else order[:0]), bounds


def _divided(sums: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means


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
