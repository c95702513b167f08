"""Score a participant level's outputs against the demo's truth, from the files alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from migxai.data import SPACE
from migxai.registration.space import LPS, load_transform

DISCARDED = 10


def read_motion(path: Path) -> np.ndarray:
    """Read a series of ITK affines as (T, 4, 4), RAS."""
    matrices = []
    for line in path.read_text().splitlines():
        if line.startswith("Parameters:"):
            numbers = np.array(line.split(":")[1].split(), dtype=float)
            matrix = np.eye(4)
            matrix[:3, :3], matrix[:3, 3] = numbers[:9].reshape(3, 3), numbers[9:]
            matrices.append(LPS @ matrix @ LPS)
    return np.array(matrices)


def move(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def score(output: Path, truth: Path, label: str, task: str = "rest") -> dict[str, float]:
    """Return RMS realignment error and mean registration errors, in mm."""
    func, anat, known = output / label / "func", output / label / "anat", truth / label
    stem = f"{label}_task-{task}"
    motion = np.load(known / "motion.npy")
    in_mni, in_t1w, in_first = (np.load(known / f"landmarks_{space}.npy") for space in ("mni", "t1w", "bold"))
    in_reference = move(motion[DISCARDED], in_first)
    found = read_motion(func / f"{stem}_from-orig_to-boldref_mode-image_xfm.txt")
    wanted = motion[DISCARDED:] @ np.linalg.inv(motion[DISCARDED])
    apart = [move(a, in_reference) - move(b, in_reference) for a, b in zip(found, wanted, strict=True)]
    scores = {"realignment": float(np.sqrt(np.mean(np.sum(np.square(apart), axis=2))))}
    to_t1w = func / f"{stem}_from-boldref_to-T1w_mode-image_xfm.txt"
    if to_t1w.exists():
        forward = load_transform(anat / f"{label}_from-T1w_to-{SPACE}_mode-image_xfm.nii.gz")
        in_found = forward.map_points(in_mni)
        scores["t1w to mni"] = _mean_distance(in_found, in_t1w)
        scores["epi to t1w"] = _mean_distance(load_transform(to_t1w).map_points(in_t1w), in_reference)
        scores["epi to mni"] = _mean_distance(load_transform(to_t1w).map_points(in_found), in_reference)
        back = load_transform(anat / f"{label}_from-{SPACE}_to-T1w_mode-image_xfm.nii.gz")
        scores["there and back"] = _mean_distance(back.map_points(in_found), in_mni)
    else:
        direct = load_transform(func / f"{stem}_from-boldref_to-{SPACE}_mode-image_xfm.nii.gz")
        scores["epi to mni"] = _mean_distance(direct.map_points(in_mni), in_reference)
    return scores


def _mean_distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b, axis=1).mean())
