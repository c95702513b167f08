"""The image type of the registration layer: an array and where it lies in the world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.errors import ImageError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D image with its voxel-to-world matrix.

    Parameters
    ----------
    data
        Array (X, Y, Z).
    affine
        Voxel indices to RAS world coordinates in mm, (4, 4).

    Raises
    ------
    ImageError
        If the array is not 3-D or the affine is not an invertible (4, 4) matrix.
    """

    data: NDArray[Any]
    affine: FloatArray

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine, dtype=np.float64)
        if self.data.ndim != 3:
            raise ImageError(f"A 3-D image is needed here, but this one has shape {self.data.shape}.")
        check_affine(affine)
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        x, y, z = self.data.shape
        return x, y, z

    @property
    def voxel_sizes(self) -> FloatArray:
        """Length of the three voxel edges in mm, (3,)."""
        return voxel_sizes(self.affine)

    def with_data(self, data: NDArray[Any]) -> Volume:
        """Return other values on the same grid."""
        return Volume(data, self.affine)


def voxel_sizes(affine: FloatArray) -> FloatArray:
    """Length of a grid's three voxel edges in mm, (3,), from its voxel-to-world matrix."""
    sizes: FloatArray = np.sqrt((np.asarray(affine, dtype=np.float64)[:3, :3] ** 2).sum(axis=0))
    return sizes


def check_affine(affine: FloatArray) -> None:
    """Raise ImageError unless a voxel-to-world matrix is finite, (4, 4) and invertible."""
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ImageError("The image's voxel-to-world matrix (qform/sform) is not usable: fix the header.")
