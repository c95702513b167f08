"""Rigid matrices from six parameters, and derivatives by them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.registration.volume import FloatArray


def rigid_matrix(parameters: NDArray[Any]) -> FloatArray:
    """Rigid (4, 4) matrix from three translations (mm) and three rotations (radians): T Rx Ry Rz, SPM's order."""
    tx, ty, tz, rx, ry, rz = (float(value) for value in parameters)
    cx, sx, cy, sy, cz, sz = np.cos(rx), np.sin(rx), np.cos(ry), np.sin(ry), np.cos(rz), np.sin(rz)
    about_x = np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, sz, 0], [-sz, cz, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_x @ about_y @ about_z
    matrix[:3, 3] = tx, ty, tz
    return matrix


def parameter_derivatives(world: FloatArray, gradient: FloatArray) -> FloatArray:
    """Chain rule: derivatives (N, 6) of a value at ``world`` as `rigid_matrix` moves it away from the identity."""
    x, y, z = world.T
    gx, gy, gz = gradient.T
    return np.column_stack([gx, gy, gz, gy * z - gz * y, gx * z - gz * x, gx * y - gy * x])
