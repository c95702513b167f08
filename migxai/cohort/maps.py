"""Read indicator maps: one volume a person, whatever number of runs they had, all on one grid.

Of a simulated cohort, its makers also wrote down where its classes truly differ.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from migxai.errors import ImageError, InputError
from migxai.io import read_json

#: What nibabel raises for files that are no images.
_NIBABELS = (
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.wrapstruct.WrapStructError,
)

#: Millimetres by which no corner of two grids may lie apart.
TOLERANCE = 1e-3

#: Degrees by which the axes of a grid may be turned against those of the space.
MAX_OBLIQUITY = 0.1

#: ``GeneratedBy`` of cohorts that nobody was scanned for.
SIMULATOR = "migxai-demo"

Affine = NDArray[np.float64]
Shape = tuple[int, int, int]


def read_map(path: Path) -> NDArray[np.float32]:
    """Read one map, shape (X, Y, Z).

    Raises `ImageError` if it is damaged or cut short, is not 3-D, or holds no signal: nothing but zeros and NaN, or one
    value everywhere.
    """
    try:
        content = path.read_bytes()
        # nibabel reads as many bytes as it needs, and so never comes to the checksum at the end.
        content = gzip.decompress(content) if path.name.endswith(".gz") else content
        data: NDArray[np.float32] = nib.nifti1.Nifti1Image.from_bytes(content).get_fdata(dtype=np.float32)
    except (OSError, EOFError, ValueError, zlib.error, *_NIBABELS) as error:
        why = " ".join(str(error).split())
        raise ImageError(f"{path.name} cannot be read ({why}); make it anew or leave this person out.") from error
    data = data[..., 0] if data.ndim == 4 and data.shape[3] == 1 else data
    if data.ndim != 3:
        raise ImageError(f"{path.name} has the shape {data.shape}; a map is a 3-D image.")
    inside = data[covered(data)]
    if inside.size == 0:
        raise ImageError(f"{path.name} holds nothing but zeros and NaN; make it anew or leave this person out.")
    if inside.min() == inside.max():
        raise ImageError(f"{path.name} has the value {inside[0]:g} everywhere; make it anew or leave this person out.")
    return data


def covered(data: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Say where a map has a value: finite, and not the background's zero."""
    inside: NDArray[np.bool_] = np.isfinite(data) & (data != 0)
    return inside


def read_mean_map(paths: Sequence[Path]) -> NDArray[np.float32]:
    """Read the mean of a person's maps on one grid, each voxel over the maps that cover it; 0 where none does.

    Raises `ImageError` as `read_map` does.
    """
    total, count = np.zeros((), np.float32), np.zeros((), np.int32)
    for path in paths:
        data = read_map(path)
        inside = covered(data)
        total = total + np.where(inside, data, np.float32(0))
        count = count + inside
    return (total / np.maximum(count, 1)).astype(np.float32)


def content_hash(paths: Sequence[Path]) -> str:
    """Sixteen hexadecimal digits of what a person's files hold."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def common_grid(paths: Sequence[Path]) -> tuple[Shape, Affine]:
    """Return the grid that all images share, by their headers alone: shape, and affine to mm of the first.

    Raises
    ------
    ImageError
        If an image cannot be read, is not 3-D, or is oblique.
    InputError
        If two of them have different shapes, or corners further apart than `TOLERANCE`; both are named.
    ValueError
        If there is no image.
    """
    if not paths:
        raise ValueError("a grid needs an image")
    shape, affine = read_grid(paths[0])
    for path in paths[1:]:
        other_shape, other_affine = read_grid(path)
        if other_shape != shape:
            how = f"{_size(shape)} and {_size(other_shape)} voxels"
        elif (apart := _corners_apart(affine, other_affine, shape)) > TOLERANCE:
            how = f"positions that differ by up to {apart:.3g} mm"
        else:
            continue
        first, second = _told_apart(paths[0], path)
        raise InputError(
            f"The maps are on different grids: {first} and {second} have {how}. Make all of them with the same "
            "--space and --resolution (not native), or leave one of the datasets out."
        )
    return shape, affine


def read_grid(path: Path) -> tuple[Shape, Affine]:
    """Read shape and affine from a map's header; raises `ImageError` as `common_grid` does."""
    try:
        image: Any = nib.load(path)
        shape, affine = image.shape, np.asarray(image.affine, dtype=np.float64)
    except (OSError, EOFError, ValueError, zlib.error, *_NIBABELS) as error:
        raise ImageError(f"{path.name} cannot be read as a NIfTI image; make or copy it again.") from error
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    if len(shape) != 3:
        raise ImageError(
            f"{path.name} is {len(shape)}-D with shape {_size(shape)}, but a map is 3-D; write it as such."
        )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise ImageError(f"{path.name} has an affine that maps nothing (not finite or singular); make it again.")
    turned = float(np.rad2deg(nib.affines.obliquity(affine).max()))
    if turned > MAX_OBLIQUITY:
        raise ImageError(
            f"{path.name} is oblique: its voxel axes are turned by {turned:.1f} degrees against those of the space, so "
            "that its slices would be of no one height; resample it to a straight grid."
        )
    return (int(shape[0]), int(shape[1]), int(shape[2])), affine


def _corners_apart(first: Affine, second: Affine, shape: Shape) -> float:
    """Return the largest distance in mm, along any axis, between the same corner voxels of two grids."""
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape], [1.0])).reshape(4, 8)
    return float(np.abs((first - second) @ corners).max())


def _told_apart(first: Path, second: Path) -> tuple[str, str]:
    """Name two files from the last folder that they share, since those of two sites may have the same name."""
    root = os.path.commonpath([first.absolute().parent, second.absolute().parent])
    return (os.path.relpath(first.absolute(), root), os.path.relpath(second.absolute(), root))


def _size(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)


@dataclass(frozen=True, eq=False)
class PlantedEffect:
    """An effect that was planted: voxels (X, Y, Z) where it has at least half its strength, and names of regions."""

    voxels: NDArray[np.bool_]
    regions: tuple[str, ...]


def read_planted_effect(dataset: Path) -> PlantedEffect | None:
    """Read where a simulated cohort's effect was planted, from the folder beside its dataset of maps.

    None if people were scanned for it, there is no effect, or its labels were dealt out at random.
    """
    described, truth = dataset / "dataset_description.json", dataset.parent / "truth"
    if not described.is_file() or not (truth / "maps_effect.json").is_file():
        return None
    makers = [item.get("Name") for item in read_json(described).get("GeneratedBy", [])]
    content = read_json(truth / "maps_effect.json")
    if SIMULATOR not in makers or not content["EffectSize"] or not content["Regions"] or content["LabelsShuffled"]:
        return None
    voxels = np.asarray(nib.nifti1.load(truth / "maps_effect.nii.gz").dataobj) >= 0.5
    return PlantedEffect(voxels, tuple(content["Regions"]))
