"""Compiled loops. Imported late: loading numba takes longer than most commands.

All release the interpreter lock and write only their own part of the output, so callers run them on threads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_LOGGER = logging.getLogger(__name__)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first use, kept on disk where there is a writable place (``NUMBA_CACHE_DIR`` names another)."""
    try:
        kernel: Callable[..., Any] = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError as error:
        # Read-only containers have nowhere to keep machine code; compiling anew costs about a second.
        _LOGGER.info("Compiled code is not kept (%s).", error)
        kernel = numba.njit(nogil=True)(function)
    return kernel


@compiled
def doubled_midranks(
    values: NDArray[Any], order: NDArray[np.int64], ranks: NDArray[Any], ties: NDArray[np.float64]
) -> None:
    """Write twice the mid-rank (1..T, ties share their mean) of every sample, and sum(t^3 - t) over tied runs.

    Twice, because a mean of two ranks is then a whole number and Kendall's sums stay exact.
    """
    volumes = values.shape[1]
    for voxel in range(values.shape[0]):
        correction = 0.0
        first = 0
        while first < volumes:
            value = values[voxel, order[voxel, first]]
            last = first
            while last + 1 < volumes and values[voxel, order[voxel, last + 1]] == value:
                last += 1
            for position in range(first, last + 1):
                ranks[voxel, order[voxel, position]] = first + last + 2
            run = float(last - first + 1)
            correction += run * run * run - run
            first = last + 1
        ties[voxel] = correction


@compiled
def kendall_w(
    ranks: NDArray[Any],
    ties: NDArray[np.float64],
    index: NDArray[np.int32],
    voxels: NDArray[np.int32],
    offsets: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Kendall's W of each voxel (row of coordinates) with its neighbours on the grid; `ties` of length 0: uncorrected.

    `index` holds each grid point's row in `ranks`, -1 outside the mask.
    """
    volumes = ranks.shape[1]
    size_x, size_y, size_z = index.shape
    total = np.empty(volumes, dtype=np.int32)
    cubes = float(volumes) * volumes * volumes - volumes
    for voxel in range(voxels.shape[0]):
        total[:] = 0
        raters = 0
        tied = 0.0
        for neighbour in range(offsets.shape[0]):
            x = voxels[voxel, 0] + offsets[neighbour, 0]
            y = voxels[voxel, 1] + offsets[neighbour, 1]
            z = voxels[voxel, 2] + offsets[neighbour, 2]
            if x < 0 or y < 0 or z < 0 or x >= size_x or y >= size_y or z >= size_z:
                continue
            row = index[x, y, z]
            if row < 0:
                continue
            raters += 1
            if ties.shape[0] > 0:
                tied += ties[row]
            for volume in range(volumes):
                total[volume] += ranks[row, volume]
        squares = np.int64(0)
        for volume in range(volumes):
            squares += np.int64(total[volume]) * np.int64(total[volume])
        mean = np.int64(raters) * (volumes + 1)
        # Ranks are doubled, so the sum of squares is four times Kendall's S: 12 S becomes 3.
        spread = 3.0 * (squares - volumes * mean * mean)
        scale = float(raters) * raters * cubes - raters * tied
        out[voxel] = spread / scale if scale > 0.0 else 0.0
