"""Regional homogeneity (ReHo): Kendall's coefficient of concordance of a voxel with its neighbours."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migxai.errors import ImageError, UsageError
from migxai.signal.voxels import BoolArray, FloatArray, as_mask, as_series, for_chunks, to_grid, voxel_series

Neighbours: TypeAlias = Literal[7, 19, 27]
Border: TypeAlias = Literal["zero", "partial"]
Constant: TypeAlias = Literal["keep", "exclude"]


def reho(
    data: ArrayLike,
    mask: ArrayLike,
    neighbours: Neighbours = 27,
    tie_correction: bool = False,
    border: Border = "zero",
    *,
    constant: Constant = "keep",
) -> NDArray[np.float64]:
    """Kendall's W of each voxel's series with those of its neighbours.

    W = 12 S / (k^2 (T^3 - T)), where S is the sum of squared deviations of the k series' summed ranks from their mean.
    Tied samples share the mean of their ranks. Neighbours outside the mask are left out, and k counts the rest.
    Source: Zang et al. 2004, doi:10.1016/j.neuroimage.2003.12.030; equal to REST 2013 and DPABI to the last bits.

    Parameters
    ----------
    data
        Series (X, Y, Z, T), unsmoothed: smoothing makes neighbours alike by construction.
    mask
        Voxels that count (X, Y, Z), non-zero inside.
    neighbours
        Voxels in a neighbourhood, the centre included: 7 share a face, 19 also an edge, 27 also a corner.
    tie_correction
        Divide by k^2 (T^3 - T) - k sum(t^3 - t) instead, with t the lengths of runs of tied samples.
    border
        ``"zero"``: the outermost shell of the grid gets 0, as in REST and DPABI. ``"partial"``: it is computed from
        the neighbours there are.
    constant
        ``"keep"``: a constant voxel takes part as one whose samples are all tied, as in REST and DPABI.
        ``"exclude"``: it is treated as outside the mask.

    Returns
    -------
    array
        Map (X, Y, Z), 0 to 1, zero outside the mask. A voxel without neighbours has W = 1.

    Raises
    ------
    ImageError
        If the mask is empty or does not fit, or a voxel in it holds NaN or infinite samples.
    UsageError
        If an option has no such value.
    """
    inside = as_mask(mask)
    values = reho_voxels(
        voxel_series(data, inside), inside, neighbours, tie_correction=tie_correction, border=border, constant=constant
    )
    return to_grid(values, inside)


def reho_voxels(
    series: ArrayLike,
    mask: ArrayLike,
    neighbours: Neighbours = 27,
    *,
    tie_correction: bool = False,
    border: Border = "zero",
    constant: Constant = "keep",
) -> NDArray[np.float64]:
    """Compute `reho` of voxel series (V, T), rows in C order of the mask (X, Y, Z); returns (V,)."""
    from migxai.signal import kernels

    samples, inside = as_series(series), as_mask(mask)
    _check(samples, inside, neighbours, border, constant)
    ranks, ties = _rank(samples)
    volumes = samples.shape[1]
    counted = np.ones(len(samples), dtype=bool)
    if constant == "exclude":
        counted = ties < float(volumes) ** 3 - volumes
    index = np.full(inside.shape, -1, dtype=np.int32)
    index[inside] = np.where(counted, np.arange(len(samples), dtype=np.int32), -1)
    voxels = np.argwhere(inside).astype(np.int32)
    if border == "zero":
        counted &= np.all((voxels > 0) & (voxels < np.array(inside.shape) - 1), axis=1)
    rows = np.flatnonzero(counted)
    voxels = voxels[rows]
    corrections = ties if tie_correction else ties[:0]
    values = np.empty(len(rows))

    def task(start: int, stop: int) -> None:
        kernels.kendall_w(ranks, corrections, index, voxels[start:stop], _offsets(neighbours), values[start:stop])

    for_chunks(task, len(rows))
    result = np.zeros(len(samples))
    result[rows] = values
    return result


def _check(series: FloatArray, mask: BoolArray, neighbours: int, border: str, constant: str) -> None:
    for value, known, name in (
        (neighbours, get_args(Neighbours), "number of ReHo neighbours"),
        (border, get_args(Border), "ReHo border"),
        (constant, get_args(Constant), "treatment of constant voxels"),
    ):
        if value not in known:
            raise UsageError(f"There is no {name} {value!r}; known are {', '.join(map(str, known))}.")
    if len(series) != np.count_nonzero(mask):
        raise ImageError(f"{len(series)} voxel series do not fit a mask of {np.count_nonzero(mask)} voxels.")
    if series.shape[1] < 2:
        raise ImageError("ReHo ranks samples in time, so it needs at least two volumes.")


def _offsets(neighbours: Neighbours) -> NDArray[np.int64]:
    cube = np.array(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij")).reshape(3, -1).T
    return np.ascontiguousarray(cube[np.abs(cube).sum(axis=1) <= {7: 1, 19: 2, 27: 3}[neighbours]], dtype=np.int64)


def _rank(series: FloatArray) -> tuple[NDArray[np.signedinteger[Any]], NDArray[np.float64]]:
    """Rank each voxel once: doubled mid-ranks (V, T) and tie corrections (V,)."""
    from migxai.signal import kernels

    narrow = 2 * series.shape[1] <= np.iinfo(np.int16).max
    ranks = np.empty(series.shape, dtype=np.int16 if narrow else np.int32)
    ties = np.empty(len(series))

    def task(start: int, stop: int) -> None:
        chunk = series[start:stop]
        if not np.isfinite(chunk).all():
            bad = int(np.count_nonzero(~np.isfinite(chunk).all(axis=1)))
            raise ImageError(f"ReHo: {bad} voxels or more hold NaN or infinite samples; leave them out of the mask.")
        kernels.doubled_midranks(chunk, _order(chunk), ranks[start:stop], ties[start:stop])

    for_chunks(task, len(series), size=1024)
    return ranks, ties


def _order(chunk: FloatArray) -> NDArray[np.int64]:
    """Argsort the rows of a matrix, in any order among ties.

    Single precision is sorted as whole numbers that carry the sample in the upper half (its bits, made monotone) and
    its position in the lower: numpy sorts these more than twice as fast as it argsorts.
    """
    if chunk.dtype != np.float32:
        return np.argsort(chunk, axis=1)
    bits = (chunk + np.float32(0.0)).view(np.int32)  # the sum turns -0.0, whose bits differ, into 0.0
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    keys = bits.astype(np.int64)
    keys <<= 32
    keys |= np.arange(chunk.shape[1])
    keys.sort(axis=1)
    keys &= 0xFFFFFFFF
    return keys
