"""Images laid over each other: whether a registration and the masks are right, and indicator maps on the template."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
from migxai.reports.figures.slices import Layout, axial_layout, grey, label_tiles, outlines, picture, three_axes_layout

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

    Parameters
    ----------
    fixed, moving
        Images in one world space (mm); their grids may differ.
    mask
        Brain mask in that space; it sets the field of view and is outlined in red.
    out_file
        SVG file to write.
    names
        What `fixed` and `moving` are, for the title.
    contour
        A tissue (probability or mask, such as white matter) outlined in blue.

    Returns
    -------
    Path
        `out_file`.
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
    """Draw the brain mask and the tissues whose signals are used, outlined on the mean EPI.

    Parameters
    ----------
    image
        Mean EPI.
    mask
        Brain mask, outlined in red.
    out_file
        SVG file to write.
    wm, csf
        Masks (or probabilities) of these tissues, outlined in orange and green.

    Returns
    -------
    Path
        `out_file`.
    """
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
