"""Slices of a map as pictures for networks that look at pictures, and the way back into the volume.

A slice is cut at the same heights in every subject, through the same window of the plane. It is always drawn in the
same orientation, whatever way the image is stored (neurological, the subject's left on the picture's left):

- axial: front at the top, left to right;
- coronal: top of the head at the top, left to right;
- sagittal: top of the head at the top, back of the head to front.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from migxai.errors import InputError, UsageError

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating[Any]]
Affine = tuple[tuple[float, ...], ...]
Axis = Literal["axial", "coronal", "sagittal"]

#: For each way to cut: the world axis across the plane, the one up the picture, the one to its right.
WORLD_AXES: dict[Axis, tuple[int, int, int]] = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}
#: Off-axis part of a voxel's edge beyond which a grid is oblique: 0.1 degrees, a fifth of a voxel over 100 voxels.
_OBLIQUE = 2e-3
#: Rows or columns of background kept around the brain, so that nothing ends abruptly at the window's edge.
_MARGIN = 1
#: How many interquartile ranges below and above the median become 0 and 1.
#: Not the extremes: where an effect is strong enough to move them, everything else would get darker by it, and
#: networks, which share their weights over a picture, would learn that in place of the effect.
SCALING = (2.0, 3.0)


@dataclass(frozen=True)
class Grid:
    """A volume's grid as seen by someone who cuts slices out of it, whatever way it is stored.

    InputError if its axes are not the world's, in any order and direction.
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
        across, up, right = (bool(matrix[place] > 0) for place in zip(WORLD_AXES[self.axis], self.axes, strict=True))
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


@dataclass(frozen=True)
class SliceGeometry:
    """Which planes of a grid are cut, and how they are drawn.

    Attributes
    ----------
    shape, affine
        The grid (X, Y, Z), and its voxel indices to RAS world mm, four rows of four; flipped or permuted axes are
        fine, oblique ones are not.
    indices
        The planes, as indices along the voxel axis that is cut across; distinct, ascending in world mm.
    heights_mm
        Their world coordinates, mm.
    size
        Edge of a picture, pixels.
    window
        Rows and columns of the plane, as drawn, that are kept: (first row, row after the last, first column, column
        after the last); empty for the whole plane.
    """

    shape: tuple[int, int, int]
    affine: Affine
    axis: Axis
    indices: tuple[int, ...]
    heights_mm: tuple[float, ...]
    size: int = 224
    window: tuple[int, ...] = ()

    @property
    def planes_shape(self) -> tuple[int, int]:
        """Rows and columns of voxels of a slice, (H0, W0)."""
        rows, columns = self._window()
        return rows.stop - rows.start, columns.stop - columns.start

    @property
    def factor(self) -> int:
        """Pixels from one voxel's centre to the next: as many as fit.

        Every voxel's centre is a pixel, so linear interpolation leaves voxels exact. From the first centre to the
        last there are ``factor * (n - 1) + 1`` pixels.
        """
        return (self.size - 1) // max(max(self.planes_shape) - 1, 1)

    def key(self) -> str:
        """Hexadecimal digest of everything that shapes a picture."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return lists and numbers only, as JSON has them."""
        content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SliceGeometry:
        """Make the geometry that `to_dict` described."""
        x, y, z = (int(n) for n in content["shape"])
        return cls(
            shape=(x, y, z),
            affine=_as_affine(content["affine"]),
            axis=_as_axis(content["axis"]),
            indices=tuple(int(n) for n in content["indices"]),
            heights_mm=tuple(float(mm) for mm in content["heights_mm"]),
            size=int(content["size"]),
            window=tuple(int(n) for n in content["window"]),
        )

    @property
    def grid(self) -> Grid:
        """The grid as it is cut."""
        return Grid(self.shape, self.affine, self.axis)

    def _window(self) -> tuple[slice, slice]:
        """Rows and columns kept."""
        _, rows, columns = self.grid.drawn_shape
        top, bottom, left, right = self.window or (0, rows, 0, columns)
        return slice(top, bottom), slice(left, right)


def plan_slices(
    shape: Sequence[int],
    affine: FloatArray | Sequence[Sequence[float]],
    brain: BoolArray,
    *,
    axis: str,
    count: int,
    range_mm: Sequence[float] = (),
    size: int = 224,
) -> SliceGeometry:
    """Spread `count` slices evenly over a brain.

    The planes that hold brain are divided into `count` parts as equal as whole planes allow, and each part's middle
    plane is cut, so that neither the first nor the last slice is a sliver.

    Parameters
    ----------
    shape, affine
        Grid of the maps, (X, Y, Z), and its voxel indices to RAS world mm, (4, 4).
    brain
        The *template's* brain mask on that grid, never a subject's: slices then show the same anatomy in everyone.
    axis
        ``axial``, ``coronal`` or ``sagittal``.
    range_mm
        Lowest and highest world coordinate to spread over (default: the brain's).
    size
        Edge of a picture, pixels.

    Raises
    ------
    UsageError
        If there is no such axis, more slices are asked for than there are planes, or the range misses the brain.
    InputError
        If the grid is oblique, the mask does not fit it or is empty, or a plane has more voxels than a picture pixels.
    """
    x, y, z = (int(n) for n in shape)
    grid = Grid((x, y, z), _as_affine(affine), _as_axis(axis))
    mask = np.asarray(brain, dtype=bool)
    if mask.shape != grid.shape or not mask.any():
        raise InputError(f"A brain mask of {mask.sum()} voxels and shape {mask.shape} fits no grid {grid.shape}.")
    held = grid.drawn(mask)
    rows, columns = (_extent(np.any(held, axis=others), _MARGIN) for others in ((0, 2), (0, 1)))
    if max(rows[1] - rows[0], columns[1] - columns[0]) > size:
        raise InputError(
            f"The maps' grid is too fine: {axis} planes of the brain do not fit into {size} x {size} pixels; resample "
            "the maps to 2 mm or more."
        )
    planes = _spread(_planes_in_range(np.any(held, axis=(1, 2)), grid, range_mm), count, grid.axis)
    return SliceGeometry(
        shape=grid.shape,
        affine=grid.affine,
        axis=grid.axis,
        indices=tuple(grid.place(planes).tolist()),
        heights_mm=tuple(np.round(grid.heights()[planes], 4).tolist()),
        size=size,
        window=(*rows, *columns),
    )


def scale_intensity(volume: FloatArray, covered: BoolArray) -> NDArray[np.float32]:
    """Scale a subject's map such that 0..1 spans `SCALING` interquartile ranges about the median of what it covers.

    Nothing but the subject's own map (X, Y, Z) enters, so this may be done before any split. It is 0 outside `covered`,
    where the subject has data, and where it is not finite. InputError if shapes differ, nothing is covered, or half of
    the covered voxels or more have the same value.
    """
    values = np.asarray(volume)
    inside = np.asarray(covered) != 0
    if values.ndim != 3 or values.shape != inside.shape:
        raise InputError(f"A map of shape {values.shape} does not fit a mask of shape {inside.shape}.")
    inside = inside & np.isfinite(values)
    if not inside.any():
        raise InputError("The map holds no number inside the brain: it is empty or NaN throughout.")
    lower, middle, upper = np.percentile(values[inside].astype(np.float64), (25.0, 50.0, 75.0))
    spread = upper - lower
    if spread <= 1e-6 * max(abs(lower), abs(upper)):
        raise InputError(f"The map is constant: half of its voxels or more are {middle:.6g}, which tells nobody apart.")
    low, high = middle - SCALING[0] * spread, middle + SCALING[1] * spread
    scaled = np.zeros(values.shape, dtype=np.float32)
    scaled[inside] = np.clip((values[inside] - low) / (high - low), 0.0, 1.0)
    return scaled


def cut(volume: NDArray[Any], geometry: SliceGeometry) -> NDArray[Any]:
    """Take the slices (S, H0, W0) out of a volume (X, Y, Z), oriented as the module says.

    InputError if the volume is not on the geometry's grid.
    """
    values = np.asarray(volume)
    if values.shape != geometry.shape:
        raise InputError(f"A map of shape {values.shape} does not fit slices planned on a grid of {geometry.shape}.")
    return np.ascontiguousarray(geometry.grid.drawn(values)[_where(geometry)])


def stack(planes: NDArray[Any], geometry: SliceGeometry, fill: float = 0.0) -> NDArray[Any]:
    """Put slices (S, H0, W0) back into a volume (X, Y, Z) of their type, `fill` between and beside them: `cut` undone.

    InputError if the slices are not of the geometry's number and shape.
    """
    values = np.asarray(planes)
    wanted = (len(geometry.indices), *geometry.planes_shape)
    if values.shape != wanted:
        raise InputError(f"Slices of shape {values.shape} do not fit slices planned as {wanted}.")
    volume = np.full(geometry.shape, fill, dtype=values.dtype)
    geometry.grid.drawn(volume)[_where(geometry)] = values
    return volume


def to_pixels(planes: FloatArray, geometry: SliceGeometry) -> NDArray[np.float32]:
    """Draw slices (S, H0, W0) of finite numbers as pictures (S, size, size).

    Linear between voxel centres, each of which is a pixel, and zero around.
    """
    rows, columns = geometry.planes_shape
    down = _interpolation(rows, geometry.factor, geometry.size)
    along = _interpolation(columns, geometry.factor, geometry.size)
    # Weights of 1 and 0 at the centres keep their values to the last bit.
    return np.asarray(down @ np.asarray(planes, dtype=np.float32) @ along.T, dtype=np.float32)


def from_pixels(images: FloatArray, geometry: SliceGeometry) -> FloatArray:
    """Read pictures (S, size, size) at the voxels' centres, (S, H0, W0): `to_pixels` undone."""
    rows, columns = (_centres(n, geometry.factor, geometry.size) for n in geometry.planes_shape)
    return np.ascontiguousarray(np.asarray(images)[..., rows, columns])


def _where(geometry: SliceGeometry) -> tuple[NDArray[np.int64], slice, slice]:
    """Where the slices lie in the grid as it is drawn."""
    return geometry.grid.place(np.array(geometry.indices, dtype=np.int64)), *geometry._window()


def _extent(occupied: BoolArray, margin: int = 0) -> tuple[int, int]:
    """First of the occupied places and the one after the last, and a margin where there is room for it."""
    found = np.flatnonzero(occupied)
    return max(int(found[0]) - margin, 0), min(int(found[-1]) + 1 + margin, len(occupied))


def _planes_in_range(occupied: BoolArray, grid: Grid, range_mm: Sequence[float]) -> NDArray[np.int64]:
    """Planes from the first to the last that holds brain and lies in the range."""
    planes = np.arange(*_extent(occupied))
    if not range_mm:
        return planes
    if len(range_mm) != 2 or not range_mm[0] <= range_mm[1]:
        raise UsageError("A slice range is two numbers in mm, the lower one first, such as -40 60.")
    heights = grid.heights()[planes]
    # Half a micrometre: heights come from headers in single precision.
    inside = planes[(heights >= range_mm[0] - 5e-4) & (heights <= range_mm[1] + 5e-4)]
    if not len(inside):
        raise UsageError(
            f"The slice range {range_mm[0]:g} to {range_mm[1]:g} mm holds no {grid.axis} plane of the brain, which "
            f"reaches from {heights[0]:g} to {heights[-1]:g} mm."
        )
    return inside


def _spread(planes: NDArray[np.int64], count: int, axis: str) -> NDArray[np.int64]:
    if count < 1:
        raise UsageError("At least one slice is needed.")
    if count > len(planes):
        raise UsageError(
            f"{count} {axis} slices are asked for, but the maps have only {len(planes)} planes there; ask for fewer "
            "(--slices) or a wider range (--slice-range)."
        )
    # In whole numbers: the middle of part i of n planes lies at (2 i + 1) n / (2 count).
    return planes[(2 * np.arange(count) + 1) * len(planes) // (2 * count)]


def _centres(count: int, factor: int, size: int) -> slice:
    """Pixels of the voxels' centres, in the middle of the picture."""
    span = factor * (count - 1) + 1
    start = (size - span) // 2
    return slice(start, start + span, factor)


@lru_cache(maxsize=16)
def _interpolation(count: int, factor: int, size: int) -> NDArray[np.float32]:
    """Weights (size, count) of voxels in pixels: hat functions around the centres, cut off beyond the outermost."""
    centres = np.arange(size)[_centres(count, factor, size)]
    distance = np.abs(np.arange(size)[:, None] - centres) / factor
    weights = np.clip(1.0 - distance, 0.0, None)
    weights[: centres[0]] = weights[centres[-1] + 1 :] = 0.0
    single: NDArray[np.float32] = weights.astype(np.float32)
    single.flags.writeable = False
    return single


def _as_axis(axis: str) -> Axis:
    """Return the name of an axis; UsageError if it is none."""
    for known in WORLD_AXES:
        if axis == known:
            return known
    raise UsageError(f"There is no slice axis {axis!r}; there are {', '.join(WORLD_AXES)}.")


def _as_affine(affine: NDArray[np.floating[Any]] | Sequence[Sequence[float]]) -> Affine:
    """Return a voxel-to-world matrix as nested tuples; InputError if it is none."""
    # Adding zero turns -0.0, which headers hold now and then, into 0.0: equal grids then look equal.
    matrix = np.asarray(affine, dtype=np.float64) + 0.0
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise InputError("The maps' voxel-to-world matrix (qform/sform) is not usable: fix the header.")
    return tuple(tuple(row) for row in matrix.tolist())
