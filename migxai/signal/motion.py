"""Head motion: parameters, framewise displacement, DVARS, and when a run moved too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migxai.errors import ImageError
from migxai.signal.voxels import CHUNK, as_series, for_chunks

#: Interquartile range of a normal distribution, in standard deviations.
_IQR = 1.3489795003921634


def motion_parameters(matrices: ArrayLike, centre: Sequence[float] = (0.0, 0.0, 0.0)) -> NDArray[np.float64]:
    """Six parameters of rigid transforms.

    A transform is x -> centre + R (x - centre) + t with R = Rx(a) Ry(b) Rz(c), where Rx(a) = [[1, 0, 0],
    [0, cos a, sin a], [0, -sin a, cos a]] and so on: the order and signs of SPM's ``spm_matrix``, which fMRIPrep's
    confounds follow as well. About a centre in the head, the translations say how far the head went; about the
    scanner's origin they mix with the rotations.

    Parameters
    ----------
    matrices
        Rigid world-to-world transforms (T, 4, 4), in mm.
    centre
        Point (3,) in mm that the rotation is about, such as the middle of the field of view.

    Returns
    -------
    array
        Translations x, y, z in mm and rotations about x, y, z in radians (T, 6).

    Raises
    ------
    ImageError
        If a matrix is not a rigid transform.
    """
    rigid = _rigid(matrices)
    turn, middle = rigid[:, :3, :3], np.asarray(centre, dtype=np.float64)
    shift = rigid[:, :3, 3] + turn @ middle - middle
    pitch = np.arctan2(turn[:, 1, 2], turn[:, 2, 2])
    roll = np.arcsin(np.clip(turn[:, 0, 2], -1.0, 1.0))
    yaw = np.arctan2(turn[:, 0, 1], turn[:, 0, 0])
    return np.column_stack([shift, pitch, roll, yaw])


def motion_matrices(parameters: ArrayLike, centre: Sequence[float] = (0.0, 0.0, 0.0)) -> NDArray[np.float64]:
    """Build rigid transforms (T, 4, 4) from the six parameters (T, 6) of `motion_parameters`."""
    motion = np.asarray(parameters, dtype=np.float64)
    if motion.ndim != 2 or motion.shape[1] != 6:
        raise ImageError(f"Motion parameters form a matrix of volumes by 6, not {motion.shape}.")
    middle = np.asarray(centre, dtype=np.float64)
    turn = _turn(motion[:, 3], 1, 2) @ _turn(motion[:, 4], 0, 2) @ _turn(motion[:, 5], 0, 1)
    matrices = np.tile(np.eye(4), (len(motion), 1, 1))
    matrices[:, :3, :3] = turn
    matrices[:, :3, 3] = motion[:, :3] + middle - turn @ middle
    return matrices


def power_displacement(parameters: ArrayLike, radius: float = 50.0) -> NDArray[np.float64]:
    """Framewise displacement of Power et al. 2012 (doi:10.1016/j.neuroimage.2011.10.018).

    Parameters
    ----------
    parameters
        Translations in mm and rotations in radians (T, 6).
    radius
        Radius in mm of the sphere on which rotations become arcs.

    Returns
    -------
    array
        Sum of the absolute changes since the volume before, in mm (T,); NaN for the first volume.
    """
    motion = np.asarray(parameters, dtype=np.float64) * np.repeat([1.0, radius], 3)
    return np.concatenate([[np.nan], np.abs(np.diff(motion, axis=0)).sum(axis=1)])


def jenkinson_displacement(
    matrices: ArrayLike, centre: Sequence[float] = (0.0, 0.0, 0.0), radius: float = 80.0
) -> NDArray[np.float64]:
    """Framewise displacement of Jenkinson et al. 2002 (doi:10.1006/nimg.2002.1132): RMS over a sphere.

    With M = T_i inv(T_{i-1}) - 1, split into A (3, 3) and t, it is sqrt(radius^2 trace(A'A) / 5 + |t + A centre|^2).

    Parameters
    ----------
    matrices
        Rigid world-to-world transforms (T, 4, 4), in mm.
    centre
        Centre of the sphere (3,) in mm, such as the middle of the brain.
    radius
        Its radius in mm.

    Returns
    -------
    array
        Displacement since the volume before, in mm (T,); NaN for the first volume.
    """
    rigid = _rigid(matrices)
    change = rigid[1:] @ np.linalg.inv(rigid[:-1]) - np.eye(4)
    turn = change[:, :3, :3]
    shift = change[:, :3, 3] + turn @ np.asarray(centre, dtype=np.float64)
    squares = radius**2 / 5 * (turn**2).sum(axis=(1, 2)) + (shift**2).sum(axis=1)
    return np.concatenate([[np.nan], np.sqrt(squares)])


@dataclass(frozen=True)
class MotionVerdict:
    """Whether a run moved too far from its reference volume.

    Attributes
    ----------
    max_translation
        Largest absolute translation along an axis, in mm.
    max_rotation
        Largest absolute rotation about an axis, in degrees.
    excluded
        Whether either passes its limit.
    reason
        A sentence that says so, or None.
    """

    max_translation: float
    max_rotation: float
    excluded: bool
    reason: str | None


def judge_motion(parameters: ArrayLike, max_translation: float = 2.0, max_rotation: float = 2.0) -> MotionVerdict:
    """Apply the paper's rule: a run is excluded if motion passes 2 mm or 2 degrees on any axis.

    Parameters
    ----------
    parameters
        Translations in mm and rotations in radians from the reference volume (T, 6).
    max_translation, max_rotation
        Limits in mm and in degrees.
    """
    motion = np.abs(np.asarray(parameters, dtype=np.float64))
    translation, rotation = float(motion[:, :3].max()), float(np.degrees(motion[:, 3:].max()))
    passed = []
    if translation > max_translation:
        passed.append(f"by {translation:.2f} mm (limit {max_translation:g} mm)")
    if rotation > max_rotation:
        passed.append(f"by {rotation:.2f} degrees (limit {max_rotation:g} degrees)")
    reason = f"The head moved {' and '.join(passed)} from its reference position." if passed else None
    return MotionVerdict(translation, rotation, bool(passed), reason)


def dvars(series: ArrayLike, *, intensity: float = 1000.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Root mean square change of the brain's intensity from volume to volume.

    Parameters
    ----------
    series
        Voxel series (V, T), with their means: neither filtered nor regressed.
    intensity
        Value that the median over all samples is scaled to for the plain form.

    Returns
    -------
    plain : array
        DVARS (T,) of Power et al. 2012, in thousandths of the brain's median by default; NaN for the first volume.
    standardised : array
        The same over its expectation for noise of each voxel's robust variance and lag-1 autocorrelation, about 1 in
        a quiet run (Afyouni & Nichols 2018, doi:10.1016/j.neuroimage.2017.12.098); NaN for the first volume.

    Raises
    ------
    ImageError
        If no voxel varies, or the median is not positive.
    """
    samples = as_series(series)
    starts = -(-len(samples) // CHUNK)
    squares = np.zeros((starts, samples.shape[1] - 1))
    expected = np.zeros(starts)
    varying = np.zeros(starts, dtype=np.int64)

    def task(start: int, stop: int) -> None:
        chunk = samples[start:stop].astype(np.float64)
        lower, upper = np.percentile(chunk, [25, 75], axis=1)
        spread = (upper - lower) / _IQR
        moves = spread > 0
        chunk, spread = chunk[moves], spread[moves]
        centred = chunk - chunk.mean(axis=1, keepdims=True)
        lag_one = (centred[:, 1:] * centred[:, :-1]).sum(axis=1) / (centred**2).sum(axis=1)
        squares[start // CHUNK] = (np.diff(chunk, axis=1) ** 2).sum(axis=0)
        expected[start // CHUNK] = (np.sqrt(2 * (1 - lag_one)) * spread).sum()
        varying[start // CHUNK] = len(chunk)

    for_chunks(task, len(samples))
    middle = float(np.median(samples))
    if not varying.sum() or not middle > 0:
        raise ImageError("DVARS needs voxels whose signal varies about a positive level.")
    change = np.sqrt(squares.sum(axis=0) / varying.sum())
    plain = np.concatenate([[np.nan], change * (intensity / middle)])
    return plain, np.concatenate([[np.nan], change / (expected.sum() / varying.sum())])


def _turn(angle: NDArray[np.float64], first: int, second: int) -> NDArray[np.float64]:
    turn = np.tile(np.eye(3), (len(angle), 1, 1))
    turn[:, first, first] = turn[:, second, second] = np.cos(angle)
    turn[:, first, second] = np.sin(angle)
    turn[:, second, first] = -np.sin(angle)
    return turn


def _rigid(matrices: ArrayLike) -> NDArray[np.float64]:
    rigid = np.asarray(matrices, dtype=np.float64)
    if rigid.ndim != 3 or rigid.shape[1:] != (4, 4):
        raise ImageError(f"Rigid transforms form an array of volumes by 4 by 4, not {rigid.shape}.")
    turn = rigid[:, :3, :3]
    if not np.allclose(turn @ turn.transpose(0, 2, 1), np.eye(3), atol=1e-4):
        raise ImageError("A motion matrix is not rigid: its rotation part stretches or shears.")
    return rigid
