"""A volume's grid as seen by someone who cuts slices out of it, whatever way it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from migxai.errors import InputError, UsageError

Affine = tuple[tuple[float, ...], ...]
Axis = Literal["axial", "coronal", "sagittal"]

#: For each way to cut: the world axis across the plane, the one up the picture, the one to its right.
WORLD_AXES: dict[Axis, tuple[int, int, int]] = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}
#: Off-axis part of a voxel's edge beyond which a grid is oblique: 0.1 degrees, a fifth of a voxel over 100 voxels.
_OBLIQUE = 2e-3


def as_axis(axis: str) -> Axis:
    """Return the name of an axis; UsageError if it is none."""
    for known in WORLD_AXES:
        if axis == known:
            return known
    raise UsageError(f"There is no slice axis {axis!r}; there are {', '.join(WORLD_AXES)}.")


def as_affine(affine: NDArray[np.floating[Any]] | Sequence[Sequence[float]]) -> Affine:
    """Return a voxel-to-world matrix as nested tuples; InputError if it is none."""
    # Adding zero turns -0.0, which headers hold now and then, into 0.0: equal grids then look equal.
    matrix = np.asarray(affine, dtype=np.float64) + 0.0
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise InputError("The maps' voxel-to-world matrix (qform/sform) is not usable: fix the header.")
    return tuple(tuple(row) for row in matrix.tolist())


@dataclass(frozen=True)
class Grid:
    """Shape (X, Y, Z), voxel-to-world matrix, and the way it is cut.

    Raises
    ------
    InputError
        If its axes are not the world's, in any order and direction.
    """

    shape: tuple[int, int, int]
    affine: Affine
    axis: Axis

    def __post_init__(self) -> None:
        matrix = np.array(self.affine)[:3, :3]
        sizes = np.sqrt((matrix**2).sum(axis=0))
        axes = np.abs(matrix).argmax(axis=1)
        off = np.abs(matrix)
        off[np.arange(3), axes] = 0.0
        if sorted(axes.tolist()) != [0, 1, 2] or np.any(off > _OBLIQUE * sizes):
            raise InputError("The maps' grid is oblique to the world's axes; resample them to a straight one first.")

    @cached_property
    def axes(self) -> tuple[int, int, int]:
        """Voxel axes across the plane, up the picture, and to its right."""
        voxel = np.abs(np.array(self.affine)[:3, :3]).argmax(axis=1)
        across, up, right = (int(voxel[world]) for world in WORLD_AXES[self.axis])
        return across, up, right

    @cached_property
    def ascending(self) -> tuple[bool, bool, bool]:
        """Whether each of `axes` runs with the world's."""
        matrix = np.array(self.affine)
        across, up, right = (
            bool(matrix[world, voxel] > 0) for world, voxel in zip(WORLD_AXES[self.axis], self.axes, strict=True)
        )
        return across, up, right

    @property
    def drawn_shape(self) -> tuple[int, int, int]:
        """Number of planes, and rows and columns of each."""
        across, up, right = (self.shape[axis] for axis in self.axes)
        return across, up, right

    def drawn(self, volume: NDArray[Any]) -> NDArray[Any]:
        """View a volume as all its planes, ascending in mm, rows from the top, columns from the left."""
        across, up, right = (1 if ascending else -1 for ascending in self.ascending)
        # A row further down lies lower in the world.
        return volume.transpose(self.axes)[::across, ::-up, ::right]

    def place(self, planes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Turn plane numbers in ascending order into indices along the voxel axis, or the other way round."""
        return planes if self.ascending[0] else self.drawn_shape[0] - 1 - planes

    def heights(self) -> NDArray[np.float64]:
        """World coordinate of every plane, ascending, mm."""
        matrix = np.array(self.affine)
        world = WORLD_AXES[self.axis][0]
        steps = self.place(np.arange(self.drawn_shape[0]))
        heights: NDArray[np.float64] = matrix[world, self.axes[0]] * steps + matrix[world, 3]
        return heights
