"""Maps of one value a voxel: smoothed, and in relation to their own mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from migxai.errors import ImageError, UsageError
from migxai.signal.voxels import BoolArray, FloatArray, as_mask, as_series, for_chunks, working_dtype

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
