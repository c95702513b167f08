"""How much the head moved: six parameters with the limits of exclusion, and framewise displacement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from migxai.reports.figures.canvas import BLUE, GREEN, GREY, ORANGE, RED, drawing_style, new_figure, save_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]


def plot_motion(
    parameters: Array,
    displacement: Array,
    out_file: Path,
    *,
    repetition_time: float,
    max_translation: float = 2.0,
    max_rotation: float = 2.0,
    threshold: float | None = None,
) -> Path:
    """Draw translations, rotations and framewise displacement over time.

    Parameters
    ----------
    parameters
        Shape (T, 6): translations x, y, z in mm, then rotations about x, y, z in degrees.
    displacement
        Framewise displacement (Power 2012) in mm, shape (T,); its first value is 0 or NaN.
    out_file
        SVG file to write.
    repetition_time
        In seconds.
    max_translation, max_rotation
        Limits of exclusion in mm and degrees, drawn as dashed lines when the motion comes near them.
    threshold
        Framewise displacement above which volumes are censored (or, if None, 0.5 mm is drawn for orientation only).

    Returns
    -------
    Path
        `out_file`.
    """
    time = np.arange(len(parameters), dtype=np.float64) * repetition_time
    shown = 0.5 if threshold is None else threshold
    above = int(np.sum(np.nan_to_num(displacement) > shown))
    mean = float(np.nanmean(displacement[1:])) if len(displacement) > 1 else 0.0
    largest = np.abs(parameters).max(axis=0)
    with drawing_style():
        figure = new_figure(5.6)
        top, middle, bottom = figure.subplots(3, 1, sharex=True)
        _traces(top, time, parameters[:, :3], max_translation, "Translation [mm]")
        _traces(middle, time, parameters[:, 3:], max_rotation, "Rotation [degrees]")
        bottom.plot(time, displacement, color=GREY)
        bottom.axhline(shown, color=RED, linestyle="--", linewidth=1)
        bottom.fill_between(time, shown, np.fmax(displacement, shown), color=RED, alpha=0.35, linewidth=0)
        role = "for orientation" if threshold is None else "censored above"
        bottom.set_title(f"Framewise displacement [mm]: mean {mean:.2f}, {above} volumes above {shown:g} ({role})")
        bottom.set_ylim(0, max(1.15 * shown, 1.05 * float(np.nanmax(displacement, initial=0.0))))
        bottom.set_xlabel("Time [s]")
        bottom.set_xlim(0, float(time[-1]) if len(time) > 1 else 1.0)
        words = (
            f"Head motion over {len(parameters)} volumes. Largest translation {largest[:3].max():.2f} mm "
            f"(limit {max_translation:g}), largest rotation {largest[3:].max():.2f} degrees (limit {max_rotation:g}). "
            f"Mean framewise displacement {mean:.2f} mm; {above} volumes above {shown:g} mm."
        )
        return save_svg(figure, out_file, title="Head motion", description=words)


def _traces(axes: Axes, time: Array, values: Array, limit: float, title: str) -> None:
    for column, (name, colour) in enumerate(zip("xyz", (BLUE, ORANGE, GREEN), strict=True)):
        axes.plot(time, values[:, column], color=colour, label=name)
    largest = float(np.abs(values).max(initial=0.0))
    axes.set_title(f"{title}: largest {largest:.2f}, limit {limit:g}")
    # A limit ten times the motion would flatten the traces into one line: then it is named in the title alone.
    reach = 1.1 * limit if largest > 0.4 * limit else max(1.25 * largest, 0.05 * limit)
    for sign in (-1, 1):
        axes.axhline(sign * limit, color=RED, linestyle="--", linewidth=1)
    reach = max(reach, 1.1 * largest)
    axes.set_ylim(-reach, reach)
    axes.legend(loc="upper left", ncols=3, handlelength=1.2)
