"""Compiled interpolation loops, without a threading layer of their own.

They release the GIL and work on a range of points, so that callers spread fixed ranges over plain threads: the sums
are formed in the same order whatever the number of threads, and no OpenMP runtime is left behind for a later fork.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from migxai.signal.kernels import compiled

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
