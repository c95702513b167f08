"""Maps of slices back in the brain: where a network's maps look, and the exact inverse of the slicing.

Value i in a row of ResNet18's last maps looks at the surroundings of pixel 32 i, 15.5 pixels (about as many mm) before
the middle of what stretching the 7 x 7 map over the picture would give it; of GoogLeNet's, of pixel 32 i + 22, 6.5
pixels after it. Stretched maps of ResNet18 would show everything some 15 mm too far to the right and to the back.
`migxai.learning.layers` says why.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from migxai.errors import InputError
from migxai.learning.backbones import NETWORKS, find_family
from migxai.learning.slices import SliceGeometry, cut, from_pixels, stack

if TYPE_CHECKING:
    from migxai.learning.family import Split

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating[Any]]


#: Edge of the pictures that networks look at, pixels.
SIZE = 224


@dataclass(frozen=True)
class ReceptiveFields:
    """Value i of a map, along either edge, looks at a neighbourhood centred on pixel ``start + step * i``."""

    start: float
    step: float

    @classmethod
    def even(cls, count: int, size: int = SIZE) -> ReceptiveFields:
        """Return those that divide the picture's edge evenly, as a transformer's patches do."""
        step = size / count
        return cls((step - 1) / 2, step)

    def weights(self, pixels: FloatArray, count: int) -> NDArray[np.float32]:
        """Return the weight of each of `count` values of a map along an edge in values at pixels (P,), (P, count).

        Rows add up to 1. Linear between the centres; beyond the outermost the outermost value holds. With `even` fields
        it is what `torch.nn.functional.interpolate` does (bilinear, ``align_corners=False``).
        """
        places = np.clip((np.asarray(pixels, dtype=np.float64) - self.start) / self.step, 0, count - 1)
        distance = np.abs(places[:, None] - np.arange(count))
        return np.clip(1.0 - distance, 0.0, None).astype(np.float32)


def find_receptive_fields(split: Split, layer: str, count: int) -> ReceptiveFields:
    """Say where in the picture maps of a layer of the intact network look, with `count` values along an edge.

    As the network's entry states it; of a transformer's patches, even; otherwise measured: a split that comes from a
    store of features holds what was measured when it was made.
    """
    if stated := NETWORKS[split.network].stated_fields(layer):
        return ReceptiveFields(*stated)
    if "rows" in split.details:
        return ReceptiveFields.even(count)
    return ReceptiveFields(*(split.receptive_fields.get(layer) or _measured(split.network, layer)))


@functools.cache
def _measured(network: str, layer: str) -> tuple[float, float]:
    from migxai.learning.layers import measure_receptive_fields
    from migxai.learning.weights import build_network

    return measure_receptive_fields(build_network(find_family(network), 2, seed=0), layer)


def to_planes(maps: FloatArray, fields: ReceptiveFields, geometry: SliceGeometry) -> NDArray[np.float32]:
    """Read maps of slices (..., S, h, w) at the centres of the voxels that their pictures were drawn from.

    That gives planes (..., S, H0, W0): what `migxai.learning.slices.from_pixels` would take out of maps drawn as large
    as the pictures, linear between cells, without drawing the rest.
    """
    pixels = np.broadcast_to(np.arange(geometry.size, dtype=np.float32), (1, geometry.size, geometry.size))
    rows = from_pixels(pixels.swapaxes(1, 2), geometry)[0, :, 0]
    columns = from_pixels(pixels, geometry)[0, 0, :]
    values = np.asarray(maps, dtype=np.float32)
    down, along = fields.weights(rows, values.shape[-2]), fields.weights(columns, values.shape[-1])
    return np.asarray(down @ values @ along.T, dtype=np.float32)


def fill_between(volume: FloatArray, geometry: SliceGeometry) -> FloatArray:
    """Fill the planes of a volume between the slices, linear from one to the next, to look at, not for statistics.

    A slice has NaN where it shows no brain; where one of two slices has no value, the other's holds. Planes below the
    first slice and above the last stay as they are.
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

    The template's brain is on the geometry's grid, (X, Y, Z). An `InputError` says if the slices show none of it.
    """

    geometry: SliceGeometry
    brain: BoolArray

    def __post_init__(self) -> None:
        if not self.inside.any():
            raise InputError("The slices show nothing of the brain's mask: it belongs to another grid or space.")

    @functools.cached_property
    def inside(self) -> BoolArray:
        """The voxels, (X, Y, Z); there are V."""
        inside: BoolArray = stack(cut(np.asarray(self.brain, dtype=bool), self.geometry), self.geometry, fill=False)
        return inside

    @functools.cached_property
    def order(self) -> NDArray[np.intp]:
        """Where the planes' pixels lie among the voxels as `inside` lists them, (S, H0, W0); -1 for none of them."""
        numbers = np.full(self.geometry.shape, -1, dtype=np.intp)
        numbers[self.inside] = np.arange(self.inside.sum())
        planes: NDArray[np.intp] = cut(numbers, self.geometry)
        return planes

    def rows(self, maps: FloatArray, fields: ReceptiveFields) -> NDArray[np.float32]:
        """Take the voxels' values (..., V), as ``volume[inside]`` orders them, out of maps of slices (..., S, h, w)."""
        planes = to_planes(maps, fields, self.geometry)
        found = np.empty((*planes.shape[:-3], int(self.inside.sum())), dtype=np.float32)
        shown = self.order >= 0
        found[..., self.order[shown]] = planes[..., shown]
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
