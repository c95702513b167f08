"""Compiled loops. Imported late: loading numba takes longer than most commands.

All release the interpreter lock and write only their own part of the output or work on a range of points, so callers
run them on plain threads: sums are formed in the same order whatever the number of threads, and no OpenMP runtime is
left behind for a later fork.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


#: Points handled at a time. It fixes the order of summation, so changing it changes the last bits of results.
CHUNK = 4096


def run_chunks(executor: ThreadPoolExecutor, task: Callable[[int, int], Any], n_points: int) -> list[Any]:
    """Call ``task(start, stop)`` over fixed ranges of points; the results come in order."""
    starts = range(0, n_points, CHUNK)
    return list(executor.map(lambda start: task(start, min(start + CHUNK, n_points)), starts))


@compiled
def _mirror(index: int, size: int) -> int:
    """Reflect an index about the outermost samples, once."""
    if index < 0:
        index = -index
    if index >= size:
        index = 2 * size - 2 - index
    return min(max(index, 0), size - 1)


@compiled
def normal_equations(coefficients, points, design, template, matrix, start, stop):  # type: ignore[no-untyped-def]
    """Sum what one Gauss-Newton step of rigid realignment needs, over points ``start`` to ``stop``.

    The volume is evaluated as a quadratic B-spline at ``matrix @ point``; points outside the volume are left out.

    Returns an array of 39: 21 of the upper triangle of A'A, 6 of A'b, 6 of A'f, then sum b, sum f, sum b^2, sum f^2,
    sum b f and the number of points inside, where b is the template, f the volume and A the template's derivatives.
    """
    sums = np.zeros(39)
    nx, ny, nz = coefficients.shape
    wx, wy, wz = np.empty(3), np.empty(3), np.empty(3)
    for n in range(start, stop):
        px, py, pz = points[n, 0], points[n, 1], points[n, 2]
        x = matrix[0, 0] * px + matrix[0, 1] * py + matrix[0, 2] * pz + matrix[0, 3]
        y = matrix[1, 0] * px + matrix[1, 1] * py + matrix[1, 2] * pz + matrix[1, 3]
        z = matrix[2, 0] * px + matrix[2, 1] * py + matrix[2, 2] * pz + matrix[2, 3]
        if x < 0 or y < 0 or z < 0 or x > nx - 1 or y > ny - 1 or z > nz - 1:
            continue
        ix, iy, iz = int(np.floor(x + 0.5)), int(np.floor(y + 0.5)), int(np.floor(z + 0.5))
        _quadratic_weights(x - ix, wx)
        _quadratic_weights(y - iy, wy)
        _quadratic_weights(z - iz, wz)
        value = 0.0
        for i in range(3):
            jx = _mirror(ix + i - 1, nx)
            for j in range(3):
                jy = _mirror(iy + j - 1, ny)
                line = 0.0
                for k in range(3):
                    line += wz[k] * coefficients[jx, jy, _mirror(iz + k - 1, nz)]
                value += wx[i] * wy[j] * line
        b = template[n]
        position = 0
        for i in range(6):
            a = design[n, i]
            for j in range(i, 6):
                sums[position] += a * design[n, j]
                position += 1
            sums[21 + i] += a * b
            sums[27 + i] += a * value
        sums[33] += b
        sums[34] += value
        sums[35] += b * b
        sums[36] += value * value
        sums[37] += b * value
        sums[38] += 1.0
    return sums


@compiled
def quadratic_at_points(coefficients, points, matrix, values, inside):  # type: ignore[no-untyped-def]
    """Evaluate a quadratic B-spline volume at ``matrix @ point`` for all points.

    ``values`` gets 0 and ``inside`` False where the position lies beyond the outermost voxel centres; ``inside`` is
    only ever cleared.
    """
    nx, ny, nz = coefficients.shape
    wx, wy, wz = np.empty(3), np.empty(3), np.empty(3)
    for n in range(points.shape[0]):
        px, py, pz = points[n, 0], points[n, 1], points[n, 2]
        x = matrix[0, 0] * px + matrix[0, 1] * py + matrix[0, 2] * pz + matrix[0, 3]
        y = matrix[1, 0] * px + matrix[1, 1] * py + matrix[1, 2] * pz + matrix[1, 3]
        z = matrix[2, 0] * px + matrix[2, 1] * py + matrix[2, 2] * pz + matrix[2, 3]
        if x < 0 or y < 0 or z < 0 or x > nx - 1 or y > ny - 1 or z > nz - 1:
            values[n] = 0.0
            inside[n] = False
            continue
        ix, iy, iz = int(np.floor(x + 0.5)), int(np.floor(y + 0.5)), int(np.floor(z + 0.5))
        _quadratic_weights(x - ix, wx)
        _quadratic_weights(y - iy, wy)
        _quadratic_weights(z - iz, wz)
        value = 0.0
        for i in range(3):
            jx = _mirror(ix + i - 1, nx)
            for j in range(3):
                jy = _mirror(iy + j - 1, ny)
                line = 0.0
                for k in range(3):
                    line += wz[k] * coefficients[jx, jy, _mirror(iz + k - 1, nz)]
                value += wx[i] * wy[j] * line
        values[n] = value


@compiled
def _quadratic_weights(t, weights):  # type: ignore[no-untyped-def]
    """Quadratic B-spline at the three samples around an offset t in [-0.5, 0.5] (Unser 1999)."""
    weights[0] = 0.5 * (0.5 - t) ** 2
    weights[1] = 0.75 - t * t
    weights[2] = 0.5 * (0.5 + t) ** 2


@compiled
def _cubic_weights(t, weights):  # type: ignore[no-untyped-def]
    """Cubic B-spline at the four samples around an offset t in [0, 1) (Unser 1999)."""
    s = 1.0 - t
    weights[0] = s * s * s / 6.0
    weights[1] = 2.0 / 3.0 - 0.5 * t * t * (2.0 - t)
    weights[2] = 2.0 / 3.0 - 0.5 * s * s * (2.0 - s)
    weights[3] = t * t * t / 6.0


@compiled
def cubic_at_points(coefficients, points, matrix, values, inside, start, stop):  # type: ignore[no-untyped-def]
    """Evaluate a cubic B-spline volume at ``matrix @ point`` for points ``start`` to ``stop``.

    ``values`` (float32) gets 0 and ``inside`` False where the position lies outside the outermost voxel centres by
    more than half a voxel; ``inside`` is only ever cleared, so it gathers the intersection over calls.
    """
    nx, ny, nz = coefficients.shape
    wx, wy, wz = np.empty(4), np.empty(4), np.empty(4)
    for n in range(start, stop):
        px, py, pz = points[n, 0], points[n, 1], points[n, 2]
        x = matrix[0, 0] * px + matrix[0, 1] * py + matrix[0, 2] * pz + matrix[0, 3]
        y = matrix[1, 0] * px + matrix[1, 1] * py + matrix[1, 2] * pz + matrix[1, 3]
        z = matrix[2, 0] * px + matrix[2, 1] * py + matrix[2, 2] * pz + matrix[2, 3]
        if x < -0.5 or y < -0.5 or z < -0.5 or x > nx - 0.5 or y > ny - 0.5 or z > nz - 0.5:
            values[n] = 0.0
            inside[n] = False
            continue
        ix, iy, iz = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        _cubic_weights(x - ix, wx)
        _cubic_weights(y - iy, wy)
        _cubic_weights(z - iz, wz)
        value = 0.0
        for i in range(4):
            jx = _mirror(ix + i - 1, nx)
            for j in range(4):
                jy = _mirror(iy + j - 1, ny)
                line = 0.0
                for k in range(4):
                    line += wz[k] * coefficients[jx, jy, _mirror(iz + k - 1, nz)]
                value += wx[i] * wy[j] * line
        values[n] = value
