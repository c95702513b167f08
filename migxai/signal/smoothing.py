"""Spatial smoothing within a mask."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from migxai.errors import ImageError, UsageError
from migxai.signal.voxels import FloatArray, as_mask, as_series, for_chunks

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
