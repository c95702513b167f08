"""Maps in relation to their own mean: what makes ALFF and ReHo comparable between people and scanners."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from migxai.errors import ImageError
from migxai.signal.voxels import BoolArray, FloatArray, as_mask, working_dtype


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
