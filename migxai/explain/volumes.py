"""Maps of slices back in the brain: through the exact inverse of the slicing."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.errors import InputError
from migxai.explain.receptive_fields import ReceptiveFields
from migxai.learning.slices import SliceGeometry, cut, from_pixels, stack

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating[Any]]


def to_planes(maps: FloatArray, fields: ReceptiveFields, geometry: SliceGeometry) -> NDArray[np.float32]:
    """Read maps at the centres of the voxels that their pictures were drawn from.

    That is what `migxai.learning.slices.from_pixels` would take out of maps drawn as large as the pictures, linear
    between cells, without drawing the rest.

    Parameters
    ----------
    maps
        One for each slice, (..., S, h, w).
    fields
        Where their cells lie in the pictures.
    geometry
        What the slices were cut and drawn with.

    Returns
    -------
    numpy.ndarray
        (..., S, H0, W0).
    """
    pixels = np.broadcast_to(np.arange(geometry.size, dtype=np.float32), (1, geometry.size, geometry.size))
    rows = from_pixels(pixels.swapaxes(1, 2), geometry)[0, :, 0]
    columns = from_pixels(pixels, geometry)[0, 0, :]
    values = np.asarray(maps, dtype=np.float32)
    down, along = fields.weights(rows, values.shape[-2]), fields.weights(columns, values.shape[-1])
    return np.asarray(down @ values @ along.T, dtype=np.float32)


def fill_between(volume: FloatArray, geometry: SliceGeometry) -> FloatArray:
    """Fill the planes between the slices, linear from one slice to the next, to look at; statistics need no such thing.

    Parameters
    ----------
    volume
        (X, Y, Z), with values where slices were cut; NaN where a slice shows no brain.
    geometry
        What they were cut with.

    Returns
    -------
    numpy.ndarray
        (X, Y, Z); planes below the first slice and above the last stay as they are. Where one of two slices has no
        value, the other's holds.
    """
    filled = np.array(volume)
    axis = geometry.grid.axes[0]
    along = np.moveaxis(filled, axis, 0)
    planes = np.sort(geometry.indices)
    for low, high in itertools.pairwise(planes):
        for plane in range(low + 1, high):
            share = (plane - low) / (high - low)
            mixed = (1 - share) * along[low] + share * along[high]
            mixed = np.where(np.isnan(along[low]), along[high], mixed)
            along[plane] = np.where(np.isnan(along[high]), along[low], mixed)
    return filled


@dataclass(frozen=True, eq=False)
class SliceSpace:
    """The voxels of the brain that slices show, so that a subject's map is one row of numbers.

    Attributes
    ----------
    geometry
        What the slices are cut with.
    brain
        The template's brain on the geometry's grid, (X, Y, Z).

    Raises
    ------
    InputError
        If the slices show no brain.
    """

    geometry: SliceGeometry
    brain: BoolArray

    def __post_init__(self) -> None:
        if not self.inside.any():
            raise InputError("The slices show nothing of the brain's mask: it belongs to another grid or space.")

    @cached_property
    def inside(self) -> BoolArray:
        """The voxels, (X, Y, Z); there are V."""
        inside: BoolArray = stack(cut(np.asarray(self.brain, dtype=bool), self.geometry), self.geometry, fill=False)
        return inside

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        """Where the planes' pixels lie among the voxels as `inside` lists them."""
        numbers = np.full(self.geometry.shape, -1, dtype=np.intp)
        numbers[self.inside] = np.arange(self.inside.sum())
        planes: NDArray[np.intp] = cut(numbers, self.geometry)
        return planes

    def rows(self, maps: FloatArray, fields: ReceptiveFields) -> NDArray[np.float32]:
        """Take the voxels' values out of maps of slices.

        Parameters
        ----------
        maps
            (..., S, h, w).
        fields
            Where their cells lie.

        Returns
        -------
        numpy.ndarray
            (..., V), in the order of ``volume[inside]``.
        """
        planes = to_planes(maps, fields, self.geometry)
        found = np.empty((*planes.shape[:-3], int(self.inside.sum())), dtype=np.float32)
        shown = self._order >= 0
        found[..., self._order[shown]] = planes[..., shown]
        return found

    def volume(self, row: FloatArray, fill: float = np.nan) -> NDArray[np.float32]:
        """Put a row (V,) back into the grid, (X, Y, Z); `fill` stands where no slice shows brain."""
        volume = np.full(self.geometry.shape, fill, dtype=np.float32)
        volume[self.inside] = row
        return volume

    def shown(self, row: FloatArray) -> NDArray[np.float32]:
        """Put a row (V,) back into the grid to look at, (X, Y, Z): filled between slices, zero outside the brain."""
        filled = fill_between(self.volume(row), self.geometry)
        return np.where(self.brain, np.nan_to_num(filled), 0.0).astype(np.float32)
