"""Slices through an image in world coordinates, laid out as one picture.

Everything is sampled in millimetres, so oblique and flipped images come out upright, with the subject's left on
the left, and two images of different grids line up without being resampled first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from migxai.registration.space import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]

#: For each axis of cut: the world axes that run to the right and up in the picture.
_IN_PLANE = {0: (1, 2), 1: (0, 2), 2: (0, 1)}
_NAMES = "xyz"


@dataclass(frozen=True)
class Cut:
    """One slice: the world axis it is perpendicular to (0, 1, 2) and its position in mm."""

    axis: int
    position: float


@dataclass(frozen=True)
class Layout:
    """Cuts on a grid of equal tiles.

    Attributes
    ----------
    cuts
        The slices, row after row.
    columns
        Tiles in a row.
    lower, upper
        Corners of the box shown, in world mm, shape (3,).
    step
        Size of a pixel in mm.
    """

    cuts: tuple[Cut, ...]
    columns: int
    lower: Array
    upper: Array
    step: float

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of pixels in a tile: the largest that any cut needs."""
        size = np.ceil((self.upper - self.lower) / self.step).astype(int)
        planes = [_IN_PLANE[cut.axis] for cut in self.cuts]
        return max(int(size[up]) for _, up in planes), max(int(size[right]) for right, _ in planes)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of pixels in the whole picture."""
        rows = -(-len(self.cuts) // self.columns)
        return rows * self.tile[0], self.columns * self.tile[1]


def box(mask: Volume, margin: float = 6.0) -> tuple[Array, Array]:
    """Return the corners (world mm) of the box around a mask.

    Parameters
    ----------
    mask
        Non-zero inside.
    margin
        Added on each side, in mm.
    """
    inside = np.argwhere(np.asarray(mask.data) != 0)
    if not len(inside):
        inside = np.array([[0, 0, 0], np.array(mask.data.shape) - 1])
    world = inside @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    return world.min(axis=0) - margin, world.max(axis=0) + margin


def axial_layout(mask: Volume, count: int = 24, columns: int = 8, step: float = 1.5) -> Layout:
    """Lay out axial slices spread evenly over a mask, feet first."""
    lower, upper = box(mask)
    return Layout(_spread(2, lower, upper, count), columns, lower, upper, step)


def three_axes_layout(mask: Volume, count: int = 7, step: float = 1.5) -> Layout:
    """Lay out a row of axial, one of coronal and one of sagittal slices."""
    lower, upper = box(mask)
    cuts = [cut for axis in (2, 1, 0) for cut in _spread(axis, lower, upper, count)]
    return Layout(tuple(cuts), count, lower, upper, step)


def _spread(axis: int, lower: Array, upper: Array, count: int) -> tuple[Cut, ...]:
    # The outermost tenth at either end shows little but the skull's edge.
    low, high = lower[axis], upper[axis]
    inset = 0.1 * (high - low)
    return tuple(Cut(axis, float(np.round(mm))) for mm in np.linspace(low + inset, high - inset, count))


def picture(volume: Volume, layout: Layout, order: Literal[0, 1] = 1, outside: float = 0.0) -> Array:
    """Sample a volume on a layout.

    Parameters
    ----------
    volume
        The image.
    layout
        What to show.
    order
        0 for nearest neighbour (labels, maps with holes), 1 for linear.
    outside
        Value beyond the image and in the padding.

    Returns
    -------
    Array
        Shape `layout.shape`, row 0 at the top.
    """
    from scipy.ndimage import map_coordinates

    rows, columns = layout.tile
    canvas = np.full(layout.shape, outside)
    inverse = np.asarray(np.linalg.inv(volume.affine), dtype=np.float64)
    data = np.asarray(volume.data, dtype=np.float64)
    centre = (layout.lower + layout.upper) / 2
    for number, cut in enumerate(layout.cuts):
        right, up = _IN_PLANE[cut.axis]
        world = np.empty((3, rows, columns), dtype=np.float64)
        world[cut.axis] = cut.position
        world[right] = centre[right] + (np.arange(columns) - (columns - 1) / 2) * layout.step
        world[up] = (centre[up] - (np.arange(rows) - (rows - 1) / 2) * layout.step)[:, None]
        voxels: Array = np.tensordot(inverse[:3, :3], world, axes=1) + inverse[:3, 3][:, None, None]
        tile = map_coordinates(data, voxels, order=order, mode="constant", cval=outside)
        row, column = divmod(number, layout.columns)
        canvas[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns] = tile
    return canvas


def grey(image: Array, inside: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.uint8]:
    """Scale a picture to 0-255 between its 1st and 99.5th percentile, of what is `inside` or not zero."""
    image = np.nan_to_num(image)
    chosen = image[inside] if inside is not None and inside.any() else image[image != 0]
    if not chosen.size:
        return np.zeros(image.shape, dtype=np.uint8)
    low, high = np.percentile(chosen, (1.0, 99.5))
    # Black somewhat below the darkest tissue: at zero, the tissues would all be bright.
    black = max(low - 0.1 * (high - low), min(low, 0.0))
    scaled = (image - black) / max(high - black, 1e-12)
    return np.asarray(np.round(np.clip(scaled, 0.0, 1.0) * 255), dtype=np.uint8)


def label_tiles(axes: Axes, layout: Layout, colour: str = "white") -> None:
    """Write each tile's position, and L and R where the tile shows both sides."""
    rows, columns = layout.tile
    seen: set[int] = set()
    for number, cut in enumerate(layout.cuts):
        row, column = divmod(number, layout.columns)
        left, top = column * columns, row * rows
        text: dict[str, Any] = {"color": colour, "fontsize": 8, "zorder": 10}
        axes.text(left + 3, top + rows - 3, f"{_NAMES[cut.axis]} = {cut.position:.0f}", va="bottom", **text)
        if cut.axis != 0 and (column == 0 or cut.axis not in seen):
            axes.text(left + 3, top + 3, "L", va="top", weight="bold", **text)
            axes.text(left + columns - 3, top + 3, "R", va="top", ha="right", weight="bold", **text)
        if cut.axis == 0 and column == 0:
            axes.text(left + 3, top + 3, "P", va="top", weight="bold", **text)
            axes.text(left + columns - 3, top + 3, "A", va="top", ha="right", weight="bold", **text)
        seen.add(cut.axis)


def outlines(axes: Axes, masks: Sequence[tuple[Array, str, float]]) -> None:
    """Draw the outline (at 0.5) of pictures of masks; each with its colour and line width."""
    for image, colour, width in masks:
        if image.max() > 0.5 > image.min():
            axes.contour(image, levels=[0.5], colors=[colour], linewidths=width)
