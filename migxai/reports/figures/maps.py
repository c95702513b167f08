"""A map of an indicator on the template."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from migxai.registration.volume import Volume
from migxai.reports.figures.canvas import WIDTH, bare, drawing_style, new_figure, save_svg
from migxai.reports.figures.slices import axial_layout, grey, label_tiles, outlines, picture


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
    one) gets a range symmetric about zero and a diverging scale. Where the run has no data, the template shows in grey.

    Parameters
    ----------
    values
        The map.
    mask
        Where it is defined, on the same grid; NaN inside it counts as no data.
    template, template_mask
        The brain of the space it is in; grids may differ.
    out_file
        SVG file to write.
    name, unit
        Of the map, for title and colour bar.

    Returns
    -------
    Path
        `out_file`.
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


def _range(inside: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float, str]:
    if not inside.size:
        return 0.0, 1.0, "plasma"
    low, high = (float(value) for value in np.percentile(inside, (2.0, 98.0)))
    if low < 0 < high:
        reach = max(-low, high)
        return -reach, reach, "RdBu_r"
    return (low, high, "plasma") if high > low else (low - 0.5, high + 0.5, "plasma")
