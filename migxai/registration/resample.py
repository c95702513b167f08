"""Resampling: one interpolation from acquired voxels to a target mask, and images or labels onto other grids."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from migxai.errors import ImageError, RegistrationError
from migxai.registration.space import Chain, FloatArray, check_affine, grid_points, voxel_sizes
from migxai.signal.voxels import worker_count


def resample_series(
    data: NDArray[Any],
    affine: NDArray[Any],
    *,
    mask: NDArray[np.bool_],
    mask_affine: NDArray[Any],
    chain: Chain | None = None,
    motion: NDArray[Any] | None = None,
    n_threads: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Resample a series at the voxels of a mask, with a single cubic B-spline interpolation.

    Parameters
    ----------
    data
        Series (X, Y, Z, T), or anything that is read a volume at a time like it; NaN counts as 0.
    affine
        Its voxel indices to RAS world mm, (4, 4).
    mask, mask_affine
        Where values are wanted, (X', Y', Z') and (4, 4).
    chain
        Maps points of the mask's world to the world of the series' reference volume (default: the same world).
        Evaluated once.
    motion
        Reference to each volume, (T, 4, 4), as `realign` returns it (default: none).
    n_threads
        Threads to use (default: all that this process may). The result does not depend on it.

    Returns
    -------
    series
        (V, T) float32; rows are the mask's voxels in C order.
    inside
        (V,): which of them lie inside the field of view in every volume. Elsewhere the series is 0 when outside.

    Raises
    ------
    ImageError
        If shapes do not fit.
    RegistrationError
        If no voxel of the mask lies inside the field of view.
    """
    from migxai.signal import kernels

    affine, mask_affine = np.asarray(affine, dtype=np.float64), np.asarray(mask_affine, dtype=np.float64)
    n_volumes = _check_series(data, affine, motion)
    mask = np.asarray(mask, dtype=bool)
    points = (chain or Chain()).map_points(grid_points(mask_affine, (0, 0, 0), mask))
    moves = np.tile(np.eye(4), (n_volumes, 1, 1)) if motion is None else np.asarray(motion, dtype=np.float64)
    matrices = np.linalg.inv(affine) @ moves
    series = np.empty((len(points), n_volumes), dtype=np.float32)

    def one(index: int) -> NDArray[np.bool_]:
        volume = np.nan_to_num(np.asarray(data[..., index], dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        coefficients = _cubic_coefficients(volume)
        values = np.empty(len(points), dtype=np.float32)
        within = np.ones(len(points), dtype=bool)
        kernels.cubic_at_points(coefficients, points, matrices[index], values, within, 0, len(points))
        series[:, index] = values
        return within

    inside = np.ones(len(points), dtype=bool)
    with ThreadPoolExecutor(max_workers=n_threads or worker_count()) as executor:
        for within in executor.map(one, range(n_volumes)):
            inside &= within
    if not inside.any():
        raise RegistrationError("No voxel of the target mask lies inside the series' field of view.")
    return series, inside


def _cubic_coefficients(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    coefficients = volume
    for axis in range(3):
        if volume.shape[axis] > 1:
            coefficients = ndimage.spline_filter1d(coefficients, 3, axis=axis, mode="mirror", output=np.float32)
    return np.ascontiguousarray(coefficients)


def _check_series(data: NDArray[Any], affine: FloatArray, motion: NDArray[Any] | None) -> int:
    check_affine(affine)
    if data.ndim != 4:
        raise ImageError(f"A 4-D series is needed here, but this image has shape {data.shape}.")
    if motion is not None and np.shape(motion) != (data.shape[3], 4, 4):
        raise ImageError(f"{data.shape[3]} volumes need {data.shape[3]} motion matrices, not {np.shape(motion)}.")
    return int(data.shape[3])


def resample_to_grid(
    data: NDArray[Any],
    affine: NDArray[Any],
    *,
    target_affine: NDArray[Any],
    target_shape: tuple[int, int, int],
    order: Literal[0, 1, 3] = 1,
    chain: Chain | None = None,
) -> NDArray[np.float32]:
    """Resample one 3-D image onto another grid; 0 outside its field of view.

    Parameters
    ----------
    data, affine
        Image (X, Y, Z) and its voxel indices to RAS world mm.
    target_affine, target_shape
        The grid wanted.
    order
        0 nearest, 1 linear, 3 cubic B-spline. For labels see `labels_on_grid`.
    chain
        Maps points of the target's world to the image's world (default: the same world).

    Returns
    -------
    numpy.ndarray
        float32 of the target's shape.
    """
    affine = np.asarray(affine, dtype=np.float64)
    check_affine(affine)
    points = grid_points(np.asarray(target_affine, dtype=np.float64), target_shape)
    if chain is not None:
        points = chain.map_points(points)
    to_voxel = np.linalg.inv(affine)
    voxels = (points @ to_voxel[:3, :3].T + to_voxel[:3, 3]).T
    image = np.nan_to_num(np.asarray(data, dtype=np.float32))
    # grid-constant fades over the half voxel around the edge; the plain constant mode drops a voxel at the border.
    values = ndimage.map_coordinates(image, voxels, order=order, mode="grid-constant", output=np.dtype(np.float32))
    return np.asarray(values.reshape(target_shape), dtype=np.float32)


def labels_on_grid(
    labels: NDArray[np.integer],
    affine: NDArray[Any],
    target_shape: tuple[int, int, int],
    target_affine: NDArray[Any],
) -> NDArray[np.int32]:
    """Resample integer labels by majority: each target voxel gets the label that fills most of it.

    Parameters
    ----------
    labels, affine
        Label image (X, Y, Z) and its voxel indices to RAS world mm.
    target_shape, target_affine
        The grid wanted.

    Returns
    -------
    numpy.ndarray
        int32 of the target's shape. Ties go to the smaller label; outside the label image it is 0. Where the target
        is as fine as the labels this is the nearest label.
    """
    affine, target_affine = np.asarray(affine, dtype=np.float64), np.asarray(target_affine, dtype=np.float64)
    check_affine(affine)
    counts = [int(n) for n in np.maximum(1, np.round(voxel_sizes(target_affine) / voxel_sizes(affine).min()))]
    matrix = np.linalg.inv(affine) @ target_affine
    votes, source = [], labels.astype(np.int32)
    for part in np.ndindex(*counts):
        offset = (np.array(part) + 0.5) / counts - 0.5
        votes.append(
            ndimage.affine_transform(
                source, matrix[:3, :3], matrix[:3, :3] @ offset + matrix[:3, 3],
                output_shape=target_shape, order=0,
            )
        )  # fmt: skip
    return _majority(np.stack(votes))


def _majority(votes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Most frequent value along the first axis; the smallest of equals."""
    votes = np.sort(votes, axis=0)
    best: NDArray[np.int32] = votes[0].copy()
    run = np.ones(votes.shape[1:], dtype=np.int32)
    most = run.copy()
    for previous, current in pairwise(votes):
        run = np.where(current == previous, run + 1, 1)
        better = run > most
        best[better], most[better] = current[better], run[better]
    return best
