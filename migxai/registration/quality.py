"""Whether a registration worked: overlap of brains, and similarity that is better here than anywhere near."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from migxai.errors import RegistrationError
from migxai.registration.space import Affine, Chain, FloatArray, Volume, grid_points, mask_centre, rigid_matrix

#: Share of the start's similarity that a result must keep.
KEPT = 0.9
#: Bins of each axis of the joint histogram.
BINS = 32
#: Displacements against which the result must hold: millimetres and degrees along and about each axis, both ways.
NUDGE_MM = 8.0
NUDGE_DEGREES = 10.0


@dataclass(frozen=True)
class Quality:
    """Figures by which a registration is judged.

    Parameters
    ----------
    dice
        Overlap of the fixed mask and the moved mask, 0 to 1, over the part of space that both images cover.
    similarity
        Normalised mutual information minus 1 inside the fixed mask: 0 for unrelated images.
    similarity_before
        The same with the starting transform.
    similarity_nearby
        The greatest that is found when the result is displaced on purpose (see `NUDGE_MM`, `NUDGE_DEGREES`).
    """

    dice: float
    similarity: float
    similarity_before: float
    similarity_nearby: float

    def to_dict(self) -> dict[str, float]:
        """Plain rounded values for sidecars."""
        return {key: round(value, 4) for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Gate:
    """What is asked of a registration: the least overlap, and the least similarity.

    `nearby` is the greatest similarity allowed at displaced positions, as a share of that at the result.
    """

    dice: float
    similarity: float
    nearby: float = 0.9


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice overlap of two masks of one shape; 0 when both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 0.0


def similarity(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Normalised mutual information of two samples minus 1: (H(a) + H(b)) / H(a, b) - 1, between 0 and 1.

    Studholme C, Hill DLG, Hawkes DJ, Pattern Recognition 1999;32:71-86. Histograms have `BINS` bins between the 0.5th
    and 99.5th percentile; 0 where a sample is constant.
    """
    joint = np.zeros((BINS, BINS))
    np.add.at(joint, (_binned(a), _binned(b)), 1.0)
    joint /= max(joint.sum(), 1.0)
    whole = _entropy(joint.ravel())
    return (_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / whole - 1.0 if whole > 0 else 0.0


def _binned(values: NDArray[Any]) -> NDArray[np.intp]:
    if values.size == 0:
        return np.zeros(0, dtype=np.intp)
    low, high = np.percentile(values, [0.5, 99.5])
    scaled = (values - low) / max(high - low, np.finfo(float).tiny)
    return np.asarray(np.clip((scaled * BINS).astype(np.intp), 0, BINS - 1), dtype=np.intp)


def _entropy(probabilities: FloatArray) -> float:
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum())


def measure_quality(
    moving: Volume, moving_mask: Volume, fixed: Volume, fixed_mask: Volume, *, result: Chain, start: Chain
) -> Quality:
    """Judge a registration from images and brain masks: `result` and `start` map fixed points to moving ones."""
    points = grid_points(fixed.affine, fixed.shape)
    where = result.map_points(points)
    inside = _inside(moving, where)
    target = fixed_mask.data.astype(bool).ravel() & inside
    moved_mask = (_sample(moving_mask, where, 0) > 0.5) & inside
    overlap = dice(target, moved_mask)
    images = (moving, moving_mask, fixed, fixed_mask)
    nearby = max(likeness(Chain((nudge, *result.steps)), *images) for nudge in _nudges(mask_centre(fixed_mask)))
    return Quality(overlap, likeness(result, *images), likeness(start, *images), nearby)


def likeness(chain: Chain, moving: Volume, moving_mask: Volume, fixed: Volume, fixed_mask: Volume) -> float:
    """Similarity of two images inside both brains under a map of fixed points to moving points.

    It is 0 where less than a fifth of the fixed brain finds the moving one.
    """
    # An even subset is enough for a histogram.
    chosen = np.flatnonzero(fixed_mask.data)[:: max(1, int(fixed_mask.data.sum()) // 40_000)]
    indices = np.column_stack(np.unravel_index(chosen, fixed.shape))
    positions = chain.map_points(indices @ fixed.affine[:3, :3].T + fixed.affine[:3, 3])
    brain = _sample(moving_mask, positions, 0) > 0.5
    if brain.sum() < 0.2 * len(brain):
        return 0.0
    values = fixed.data.astype(np.float64).ravel()[chosen]
    return similarity(values[brain], _sample(moving, positions, 1)[brain])


def _nudges(centre: FloatArray) -> list[Affine]:
    nudges = []
    for axis in range(6):
        for sign in (-1.0, 1.0):
            parameters = np.zeros(6)
            parameters[axis] = sign * (NUDGE_MM if axis < 3 else np.radians(NUDGE_DEGREES))
            matrix = rigid_matrix(parameters)
            matrix[:3, 3] += centre - matrix[:3, :3] @ centre
            nudges.append(Affine(matrix))
    return nudges


def _sample(volume: Volume, points: FloatArray, order: Literal[0, 1]) -> FloatArray:
    to_voxel = np.linalg.inv(volume.affine)
    voxels = points @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    data = volume.data.astype(np.float32)
    return np.asarray(ndimage.map_coordinates(data, voxels.T, order=order, output=np.float64))


def _inside(volume: Volume, points: FloatArray) -> NDArray[np.bool_]:
    to_voxel = np.linalg.inv(volume.affine)
    voxels = points @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    inside: NDArray[np.bool_] = ((voxels > -0.5) & (voxels < np.array(volume.shape) - 0.5)).all(axis=1)
    return inside


def require_quality(quality: Quality, gate: Gate, what: str) -> None:
    """Raise RegistrationError with the figures and what to look at, if a registration does not pass its gate."""
    faults = []
    if quality.dice < gate.dice:
        faults.append(f"the brains overlap by {quality.dice:.2f} (Dice; at least {gate.dice:.2f} is needed)")
    if quality.similarity < gate.similarity:
        faults.append(f"the images agree by {quality.similarity:.3f} (at least {gate.similarity:.3f} is needed)")
    # An engine maximises its own form of the measure, so a good start may lose a little of this one.
    if quality.similarity < KEPT * quality.similarity_before:
        faults.append(f"they agreed better before ({quality.similarity_before:.3f}, now {quality.similarity:.3f})")
    if quality.similarity_nearby > gate.nearby * quality.similarity:
        faults.append(
            f"displaced by {NUDGE_MM:.0f} mm or {NUDGE_DEGREES:.0f} degrees they agree about as well "
            f"({quality.similarity_nearby:.3f} against {quality.similarity:.3f})"
        )
    if faults:
        raise RegistrationError(
            f"Registration of {what} failed: {'; '.join(faults)}. Check the orientation in the headers and the brain "
            "mask, or leave this image out."
        )
