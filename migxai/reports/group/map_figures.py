"""Maps on the brain: axial slices over the template and a glass brain, and the page's viewer of them.

The viewer's script unpacks bytes: template, surface, atlas labels and maps. nilearn's `view_img` was tried first: each
map is a page of its own (0.4 to 1 MB, with jQuery), so nothing can link a table to it, and two maps cannot share the
template. Here a map takes some 30 kB.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from migxai.data import load_atlas
from migxai.registration.space import Volume, template_volume
from migxai.reports.figures.drawing import WIDTH, bare, new_figure
from migxai.reports.figures.overlays import Layout, axial_layout, box, grey, label_tiles, outlines, picture
from migxai.reports.group.explained_maps import ExplainedMap
from migxai.reports.group.gallery import Drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure, SubFigure

Array = NDArray[np.float64]

#: Of the stamp on maps that must not be trusted: dark enough to be read on white.
ALARM = "#A4161A"
#: One-sided and signed maps.
COLOUR_MAPS = {False: "plasma", True: "RdBu_r"}

#: Share of the brain's voxels above the threshold that the report chooses where a map brings none.
TOP = 0.1

#: Views of the glass brain: direction, what it is called, and the axes that run to the right (with sign) and up.
_VIEWS = (("l", "left", (1, -1), 2), ("y", "back", (0, 1), 2), ("r", "right", (1, 1), 2), ("z", "top", (0, 1), 1))


@dataclass(frozen=True, eq=False)
class PreparedMap:
    """A map ready to be shown.

    `volume` is NaN where there are no values, which are `signed` if some are below zero. Absolute values below
    `threshold` are not shown (0 if nothing is above it), and colours end at `limit`. `peak` is where the largest
    absolute value lies, world mm (3,), and that value; NaN for an empty map.
    """

    volume: Volume
    signed: bool
    threshold: float
    limit: float
    peak: tuple[Array, float]

    @property
    def empty(self) -> bool:
        """Whether the map is zero everywhere."""
        return self.limit == 0


def prepare(one: ExplainedMap) -> PreparedMap:
    """Read a map and settle how it is shown; an ImageError says that it cannot be read."""
    volume = one.read()
    data = np.asarray(volume.data, dtype=np.float64)
    size = np.abs(np.nan_to_num(data))
    known = size[size > 0]
    if not known.size:
        return PreparedMap(volume, signed=False, threshold=0.0, limit=0.0, peak=(np.full(3, np.nan), np.nan))
    place = np.unravel_index(size.argmax(), size.shape)
    peak = volume.affine[:3, :3] @ np.array(place) + volume.affine[:3, 3]
    # Voxels that no slice shows are zero or NaN, and are not counted.
    threshold = float(np.quantile(known, 1 - TOP)) if one.threshold is None else one.threshold
    limit = max(float(np.quantile(known, 0.999)), 1.02 * threshold)
    return PreparedMap(volume, bool(np.nanmin(data) < 0), threshold, limit, (peak, float(data[place])))


@lru_cache(maxsize=1)
def load_template() -> tuple[Volume, Volume]:
    """Return the template's brain and its mask."""
    return template_volume("T1w"), template_volume("mask")


def map_figure(one: ExplainedMap, shown: PreparedMap) -> Drawn:
    """Draw a map as axial slices over the template and as a glass brain; returns the figure and what it shows."""
    layout = axial_layout(load_template()[1], count=21, columns=7)
    tall = 0.92 * WIDTH * layout.shape[0] / layout.shape[1]
    figure = new_figure(tall + 2.3)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[tall + 0.3, 2.0])[:, 0]
    axes = upper.subplots()
    _draw_slices(axes, layout, shown)
    axes.set_title(one.title)
    _stamp(axes, one.warning)
    _colour_bar(upper, axes, shown).set_label(one.unit, fontsize=8)
    _draw_glass(lower, shown)
    words = (
        f"{len(layout.cuts)} axial slices of the template, MNI heights {layout.cuts[0].position:.0f} to "
        f"{layout.cuts[-1].position:.0f} mm, left on the left, and a glass brain. {describe(shown)}{_distrust([one])}"
    )
    if one.kind == "univariate" and not shown.empty:
        words += " No voxel is significant." if one.threshold is None else " All that is shown is significant."
    return figure, words


def strips_figure(maps: Sequence[tuple[ExplainedMap, PreparedMap]]) -> Drawn:
    """Draw several maps below each other, each as a row of axial slices; returns the figure and what it shows."""
    layout = axial_layout(load_template()[1], count=10, columns=10)
    figure = new_figure((0.92 * WIDTH * layout.shape[0] / layout.shape[1] + 0.32) * len(maps))
    panels = figure.subplots(len(maps), 1, squeeze=False)[:, 0]
    for axes, (one, shown) in zip(panels, maps, strict=True):
        _draw_slices(axes, layout, shown)
        axes.set_title(f"{one.title} [{one.unit}]" if one.unit else one.title, fontsize=9)
        _stamp(axes, one.warning)
        _colour_bar(figure, axes, shown)
    words = " ".join(f"{one.title}: {describe(shown)}" for one, shown in maps)
    return figure, words + _distrust([one for one, _ in maps])


def describe(shown: PreparedMap) -> str:
    """Say what is shown of a map, and where it is largest."""
    if shown.empty:
        return "The map is zero everywhere."
    (x, y, z), value = shown.peak
    side = "left" if x < -1 else "right" if x > 1 else "middle"
    return (
        f"Shown are values of at least {shown.threshold:.3g}{' above or below zero' if shown.signed else ''}; the "
        f"largest is {value:.3g} at {x:.0f}, {y:.0f}, {z:.0f} mm ({side})."
    )


def _distrust(maps: Sequence[ExplainedMap]) -> str:
    """Say why maps must not be trusted; empty if they may be."""
    warnings = dict.fromkeys(one.warning for one in maps if one.warning)
    return "".join(f" NOT TO BE TRUSTED. {warning}" for warning in warnings)


def resample(volume: Volume, step: float, order: Literal[0, 1] = 0) -> Volume:
    """Sample a volume on a grid of `step` mm around the template's brain, axes to the right, forward and up."""
    from scipy.ndimage import map_coordinates

    lower, upper = box(load_template()[1])
    first = step * np.floor(lower / step)
    shape = [int(size) for size in np.ceil((upper - first) / step) + 1]
    affine: Array = np.diag([step, step, step, 1.0])
    affine[:3, 3] = first
    moved: Array = np.linalg.inv(volume.affine) @ affine
    points: Array = np.tensordot(moved[:3, :3], np.indices(shape), axes=1) + moved[:3, 3][:, None, None, None]
    data: Array = np.nan_to_num(np.asarray(volume.data, dtype=np.float64))
    return Volume(map_coordinates(data, points, order=order, mode="constant"), affine)


def is_upright(volume: Volume) -> bool:
    """Whether axes run to the right, forward and up."""
    steps = volume.affine[:3, :3]
    return bool(np.allclose(steps, np.diag(np.diag(steps))) and (np.diag(steps) > 0).all())


def _draw_slices(axes: Axes, layout: Layout, shown: PreparedMap) -> None:
    brain, mask = load_template()
    tones = np.repeat(grey(picture(brain, layout))[:, :, None], 3, axis=2)
    # Nearest neighbour: what is seen are the map's own voxels.
    values = picture(Volume(np.nan_to_num(shown.volume.data), shown.volume.affine), layout, order=0)
    over = (np.abs(values) >= shown.threshold) & (values != 0)
    tones[over] = np.round(_scale(shown).to_rgba(values[over])[:, :3] * 255).astype(np.uint8)
    axes.imshow(tones, interpolation="none")
    outlines(axes, [(picture(mask, layout), "white", 0.4)])
    label_tiles(axes, layout)
    bare(axes)


def _draw_glass(figure: SubFigure, shown: PreparedMap) -> None:
    """Draw the largest value along each line of sight, in nilearn's drawing of a glass brain."""
    from nilearn.plotting.glass_brain import plot_brain_schematics

    scale = _scale(shown)
    panels = figure.subplots(1, len(_VIEWS), width_ratios=[1.25, 1, 1.25, 0.85])
    for axes, (direction, name, (across, sign), up) in zip(panels, _VIEWS, strict=True):
        image, extent = _projection(shown, direction, across, up)
        rgba = scale.to_rgba(image, bytes=True)
        rgba[..., 3] = 255 * ((np.abs(image) >= shown.threshold) & (image != 0))
        axes.imshow(rgba, extent=extent, origin="lower", interpolation="none")
        left, right, bottom, top = plot_brain_schematics(axes, direction, edgecolor="#6B7280", linewidth=0.8)
        axes.set_xlim((left, right) if sign > 0 else (right, left))
        axes.set_ylim(bottom, top)
        axes.set_aspect("equal")
        bare(axes)
        axes.set_title(name, fontsize=8, weight="normal")


def _projection(shown: PreparedMap, direction: str, across: int, up: int) -> tuple[Array, tuple[float, ...]]:
    """Return the value of largest size along a line of sight, (up, across), and its edges in mm."""
    volume = shown.volume if is_upright(shown.volume) else resample(shown.volume, 3.0)
    values: Array = np.nan_to_num(np.asarray(volume.data, dtype=np.float64))
    x = volume.affine[0, 3] + volume.affine[0, 0] * np.arange(values.shape[0])
    if direction in "lr":
        values = values[x <= 0] if direction == "l" else values[x >= 0]
    along = ({0, 1, 2} - {across, up}).pop()
    size = np.abs(values).argmax(axis=along)
    image = np.take_along_axis(values, np.expand_dims(size, along), axis=along).squeeze(along).T
    edges = []
    for axis in (across, up):
        step, first = volume.affine[axis, axis], volume.affine[axis, 3]
        edges += [first - step / 2, first + step * (volume.data.shape[axis] - 0.5)]
    return image, tuple(edges)


def _scale(shown: PreparedMap) -> Any:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    limit = shown.limit or 1.0
    return ScalarMappable(Normalize(-limit if shown.signed else 0.0, limit), colormaps[COLOUR_MAPS[shown.signed]])


def _colour_bar(figure: Figure | SubFigure, axes: Axes, shown: PreparedMap) -> Colorbar:
    bar = figure.colorbar(_scale(shown), ax=axes, fraction=0.02, pad=0.01, extend="both" if shown.signed else "max")
    bar.ax.tick_params(labelsize=8)
    for level in {shown.threshold, -shown.threshold if shown.signed else shown.threshold}:
        bar.ax.axhline(level, color="white", linewidth=1.2)
    return bar


def _stamp(axes: Axes, warning: str) -> None:
    """Stamp a map that must not be trusted, above it: on it the stamp would hide what is to be seen."""
    if warning:
        text = axes.text(0.995, 1.03, "NOT TO BE TRUSTED", transform=axes.transAxes, ha="right", va="bottom")
        text.set(color=ALARM, fontsize=9, weight="bold")
        text.set_bbox({"facecolor": "white", "edgecolor": ALARM, "boxstyle": "round,pad=0.25"})


#: Steps of a map's values on either side of zero; 0 is kept for "no value".
_STEPS = 63
#: Grid of the template and the labels, and of the surface's points, mm.
_FINE, _COARSE = 2.0, 3.0


def pack_scene(atlas: str) -> dict[str, Any]:
    """Pack what all maps share; regions are named for the packaged atlas alone.

    These are ``template`` and ``labels`` (volumes), ``regions`` (names by label), ``surface`` (points and normals) and
    ``colours`` (256 RGB triples of one-sided and of signed maps).
    """
    brain, mask = load_template()
    fine = resample(Volume(np.asarray(mask.data > 0, dtype=np.float32), mask.affine), _FINE)
    tones = resample(brain, _FINE, order=1)
    scene: dict[str, Any] = {
        "template": _volume(Volume(grey(np.asarray(tones.data) * (fine.data > 0.5)), fine.affine)),
        "surface": _surface(brain),
        "colours": {"signed" if signed else "plain": _lut(name) for signed, name in COLOUR_MAPS.items()},
        "labels": None,
        "regions": {},
    }
    if atlas == "AAL":
        known = load_atlas()
        labels = resample(Volume(known.data, known.affine), _FINE)
        scene["labels"] = _volume(Volume(np.asarray(labels.data, dtype=np.uint8), labels.affine))
        scene["regions"] = dict(zip(map(str, known.indices), known.names, strict=True))
    return scene


def pack_map(one: ExplainedMap, shown: PreparedMap, heading: str) -> dict[str, Any]:
    """Pack a map: its values in 63 steps up to the largest, on its own grid where that is upright."""
    volume = shown.volume if is_upright(shown.volume) else resample(shown.volume, _COARSE)
    data = np.nan_to_num(np.asarray(volume.data, dtype=np.float64))
    largest = float(np.abs(data).max()) or 1.0
    steps = np.round(data / largest * _STEPS)
    codes = np.where(steps == 0, 0, steps + 128).astype(np.uint8)
    return {
        "heading": heading,
        "title": one.title,
        "signed": shown.signed,
        "threshold": _short(shown.threshold),
        "limit": _short(shown.limit or 1.0),
        "largest": _short(largest),
        "scale": largest / _STEPS,
        "peak": [round(float(value)) for value in shown.peak[0]] if not shown.empty else [0, 0, 0],
        "warning": one.warning,
        "unit": one.unit,
        "volume": _volume(_cropped(Volume(codes, volume.affine))),
    }


def script_data(scene: dict[str, Any], maps: Sequence[dict[str, Any]]) -> str:
    """Write the scene and its maps as JSON that can stand inside a script element."""
    text = json.dumps({**scene, "maps": list(maps)}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # "</script>" inside a string would end the element.
    return text.replace("<", "\\u003c")


def _cropped(volume: Volume) -> Volume:
    """Leave out what lies around the brain's box."""
    lower, upper = box(load_template()[1])
    steps, first = np.diag(volume.affine)[:3], volume.affine[:3, 3]
    start = np.maximum(np.floor((lower - first) / steps).astype(int), 0)
    stop = np.minimum(np.ceil((upper - first) / steps).astype(int) + 1, volume.data.shape)
    affine = volume.affine.copy()
    affine[:3, 3] = first + steps * start
    return Volume(volume.data[tuple(slice(*ends) for ends in zip(start, stop, strict=True))], affine)


def _volume(volume: Volume) -> dict[str, Any]:
    return {
        "shape": list(volume.data.shape),
        "step": [float(value) for value in np.diag(volume.affine)[:3]],
        "origin": [float(value) for value in volume.affine[:3, 3]],
        "bytes": _packed(np.asarray(volume.data, dtype=np.uint8)),
    }


def _packed(values: NDArray[np.uint8] | NDArray[np.int8]) -> str:
    # The first axis runs fastest, as the script counts.
    return base64.b64encode(zlib.compress(values.tobytes(order="F"), 9)).decode()


def _surface(brain: Volume) -> dict[str, Any]:
    """Points on the folds of the cortex (world mm, whole numbers) and the directions they face."""
    from scipy.ndimage import binary_erosion, gaussian_filter

    data = resample(brain, _COARSE, order=1)
    tissue = np.asarray(data.data) > 0.35 * np.quantile(data.data[data.data > 0], 0.9)
    edge = tissue & ~binary_erosion(tissue)
    blurred = gaussian_filter(tissue.astype(np.float64), 1.0)
    slope = np.stack([np.gradient(blurred, axis=axis)[edge] for axis in range(3)], axis=-1)
    length = np.linalg.norm(slope, axis=1, keepdims=True)
    normals = -slope / np.where(length > 0, length, 1.0)
    points = np.argwhere(edge) * _COARSE + data.affine[:3, 3]
    return {
        "count": len(points),
        "points": _packed(np.round(points).astype(np.int8)),
        "normals": _packed(np.round(127 * normals).astype(np.int8)),
    }


def _lut(name: str) -> list[int]:
    from matplotlib import colormaps

    colours = np.round(colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).astype(int)
    return [int(value) for value in colours.ravel()]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
