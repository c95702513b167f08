"""Slices of images and what is laid over them: to judge a registration and masks by, and maps on the template.

Everything is sampled in millimetres, so oblique and flipped images come out upright, with the subject's left on
the left, and two images of different grids line up without being resampled first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from migxai.registration.space import Volume
from migxai.reports.figures.drawing import (
    BLUE,
    GREEN,
    MASK_COLOUR,
    ORANGE,
    WIDTH,
    bare,
    drawing_style,
    new_figure,
    save_svg,
)

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
    """Return the corners (world mm) of the box around a mask, with a margin in mm on each side."""
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
    """Sample a volume on a layout, row 0 at the top; `order` 0 is for labels and maps with holes, 1 linear.

    `outside` is the value beyond the image and in the padding.
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


#: The second image fades in and out while the pointer, a finger or the keyboard's focus is on the figure.
_FLICKER = (
    "@keyframes migxai-flicker{from{opacity:1}to{opacity:0}}"
    "[id^=migxai-moving]{animation:migxai-flicker 1s ease-in-out infinite alternate paused}"
    "svg:hover [id^=migxai-moving],figure:focus-within [id^=migxai-moving]{animation-play-state:running}"
    "@media print{[id^=migxai-moving]{animation:none}}"
)


def plot_registration(
    fixed: Volume,
    moving: Volume,
    mask: Volume,
    out_file: Path,
    *,
    names: tuple[str, str],
    contour: Volume | None = None,
) -> Path:
    """Draw two registered images in one place: the second flickers over the first, with outlines on both.

    Grids may differ. The brain mask sets the field of view and is outlined in red, `contour` (a tissue's probability or
    mask) in blue; `names` say in the title what `fixed` and `moving` are.
    """
    layout = three_axes_layout(mask)
    inside = picture(mask, layout, order=1)
    drawn = [(inside, MASK_COLOUR, 0.8)]
    if contour is not None:
        drawn.append((picture(contour, layout), BLUE, 0.7))
    with drawing_style():
        figure = new_figure(_height(layout))
        axes = figure.subplots()
        for image, gid in ((fixed, f"migxai-fixed-{out_file.stem}"), (moving, f"migxai-moving-{out_file.stem}")):
            tones = grey(picture(image, layout), inside > 0.5)
            axes.imshow(tones, cmap="gray", vmin=0, vmax=255, interpolation="none").set_gid(gid)
        outlines(axes, drawn)
        label_tiles(axes, layout)
        bare(axes)
        axes.set_title(f"{names[1]} over {names[0]}")
        words = (
            f"{names[1]} registered to {names[0]}: axial, coronal and sagittal slices with the outline of the brain"
            f"{' and of white matter' if contour is not None else ''}. The two pictures alternate under the pointer."
        )
        return save_svg(figure, out_file, title=f"{names[1]} over {names[0]}", description=words, style=_FLICKER)


def plot_masks(
    image: Volume,
    mask: Volume,
    out_file: Path,
    *,
    wm: Volume | None = None,
    csf: Volume | None = None,
) -> Path:
    """Outline the brain mask (red), white matter (orange) and CSF (green) on the mean EPI."""
    layout = axial_layout(mask, count=16, columns=8)
    inside = picture(mask, layout)
    given = (("white matter", wm, ORANGE), ("CSF", csf, GREEN))
    tissues = [(name, tissue, colour) for name, tissue, colour in given if tissue is not None]
    with drawing_style():
        figure = new_figure(_height(layout) + 0.3)
        axes = figure.subplots()
        axes.imshow(grey(picture(image, layout), inside > 0.5), cmap="gray", vmin=0, vmax=255, interpolation="none")
        drawn = [(picture(tissue, layout), colour, 0.7) for _, tissue, colour in tissues]
        outlines(axes, [(inside, MASK_COLOUR, 0.9), *drawn])
        label_tiles(axes, layout)
        bare(axes)
        for name, colour in [("brain mask", MASK_COLOUR), *((name, colour) for name, _, colour in tissues)]:
            axes.plot([], [], color=colour, label=name)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4)
        axes.set_title("Brain mask and tissues on the mean EPI")
        share = float(np.mean(np.asarray(mask.data) != 0))
        words = (
            f"Outline of the brain mask ({share:.0%} of the field of view)"
            f"{', ' + ', '.join(name for name, _, _ in tissues) if tissues else ''} on axial slices of the mean EPI."
        )
        return save_svg(figure, out_file, title="Brain mask and tissues", description=words)


def plot_map(
    values: Volume,
    mask: Volume,
    template: Volume,
    template_mask: Volume,
    out_file: Path,
    *,
    name: str,
    unit: str = "",
) -> Path:
    """Draw axial slices of a map over the template, with a colour bar.

    Colours span the 2nd to the 98th percentile inside the mask. A map with values on both sides of zero (a z-scored
    one) gets a range symmetric about zero and a diverging scale. Where the run has no data, outside the mask or NaN,
    the template shows in grey; its grid may be another. `name` and `unit` are for the title and the colour bar.
    """
    data = np.asarray(values.data, dtype=np.float64)
    valid = (np.asarray(mask.data) != 0) & np.isfinite(data)
    low, high, colours = _range(data[valid])
    layout = axial_layout(template_mask)
    # Nearest neighbour: what is seen are the map's own voxels.
    shown = picture(Volume(np.where(valid, data, np.nan), values.affine), layout, order=0, outside=np.nan)
    brain = picture(template_mask, layout)
    with drawing_style():
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        scale = ScalarMappable(Normalize(low, high), colormaps[colours])
        figure = new_figure(0.94 * WIDTH * layout.shape[0] / layout.shape[1] + 0.35)
        axes = figure.subplots()
        background = grey(picture(template, layout)) // 2
        blend = np.repeat(background[:, :, None], 3, axis=2)
        here = np.isfinite(shown)
        blend[here] = np.round(scale.to_rgba(shown[here])[:, :3] * 255).astype(np.uint8)
        axes.imshow(blend, interpolation="none")
        outlines(axes, [(brain, "white", 0.4)])
        label_tiles(axes, layout)
        bare(axes)
        axes.set_title(name)
        bar = figure.colorbar(scale, ax=axes, fraction=0.02, pad=0.01, extend="both")
        bar.set_label(unit)
        inside = data[valid]
        middle = float(np.median(inside)) if inside.size else float("nan")
        words = (
            f"Map of {name} on {len(layout.cuts)} axial slices of the template, MNI heights "
            f"{layout.cuts[0].position:.0f} to {layout.cuts[-1].position:.0f} mm, left on the left. "
            f"Median {middle:.2f}; colours from {low:.2f} to "
            f"{high:.2f}; grey where the run has no data."
        )
        return save_svg(figure, out_file, title=name, description=words)


def _height(layout: Layout) -> float:
    rows, columns = layout.shape
    return WIDTH * rows / columns + 0.35


def _range(inside: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float, str]:
    if not inside.size:
        return 0.0, 1.0, "plasma"
    low, high = (float(value) for value in np.percentile(inside, (2.0, 98.0)))
    if low < 0 < high:
        reach = max(-low, high)
        return -reach, reach, "RdBu_r"
    return (low, high, "plasma") if high > low else (low - 0.5, high + 0.5, "plasma")
