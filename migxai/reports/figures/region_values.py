"""Regions of the atlas: the highest and lowest values of an indicator, and what part of each the run covers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from migxai.reports.figures.drawing import BLUE, GREY, ORANGE, RED, drawing_style, new_figure, save_svg

Array = npt.NDArray[np.float64]

#: Coverage below which a region is called partly covered, and below which hardly covered.
PARTLY, HARDLY = 0.9, 0.5


def plot_regions(labels: Sequence[str], values: Array, out_file: Path, *, name: str, count: int = 10) -> Path:
    """Draw the regions with the highest and the lowest values.

    Parameters
    ----------
    labels
        Names of the R regions.
    values
        Shape (R,); NaN where a region has no data, which is then left out.
    out_file
        SVG file to write.
    name
        Of the indicator.
    count
        Regions at either end.

    Returns
    -------
    Path
        `out_file`.
    """
    order = rank(values)
    ends = (order[::-1][:count], order[:count][::-1])
    reach = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    low = min(0.0, float(np.nanmin(values, initial=0.0)))
    with drawing_style():
        figure = new_figure(0.9 + 0.19 * count)
        for axes, chosen, colour, title in zip(
            figure.subplots(1, 2), ends, (ORANGE, BLUE), ("highest", "lowest"), strict=True
        ):
            places = np.arange(len(chosen))
            axes.barh(places, values[chosen], color=colour, height=0.72)
            axes.set_yticks(places, [labels[region] for region in chosen])
            axes.invert_yaxis()
            axes.set_xlim(1.12 * low, 1.12 * reach)
            axes.grid(visible=False, axis="y")
            for place, value in zip(places, values[chosen], strict=True):
                axes.text(max(value, 0) + 0.01 * reach, place, f"{value:.2f}", va="center", fontsize=8)
            axes.set_title(f"{name}: the {len(chosen)} {title}")
        named = [", ".join(f"{labels[region]} {values[region]:.2f}" for region in chosen[:3]) for chosen in ends]
        words = f"Regions with the highest {name} ({named[0]}, ...) and the lowest ({named[1]}, ...)."
        return save_svg(figure, out_file, title=f"{name} by region", description=words)


def plot_coverage(labels: Sequence[str], coverage: Array, out_file: Path) -> Path:
    """Draw what share of each region's voxels the run covers.

    Parameters
    ----------
    labels
        Names of the R regions.
    coverage
        Shape (R,), from 0 to 1.
    out_file
        SVG file to write.

    Returns
    -------
    Path
        `out_file`.
    """
    missing = np.flatnonzero(coverage < PARTLY)
    with drawing_style():
        figure = new_figure(2.6)
        axes = figure.subplots()
        tones = np.select([coverage < HARDLY, coverage < PARTLY], [RED, ORANGE], GREY)
        places = np.arange(1, len(coverage) + 1)
        axes.bar(places, 100 * coverage, color=list(tones), width=0.8)
        # A region without any voxel has no bar to be coloured.
        for place in places[coverage < HARDLY]:
            axes.axvspan(place - 0.4, place + 0.4, color=RED, alpha=0.25, linewidth=0)
        for limit, colour in ((HARDLY, RED), (PARTLY, ORANGE)):
            axes.axhline(100 * limit, color=colour, linestyle="--", linewidth=0.8)
        axes.set_ylim(0, 102)
        axes.set_xlim(0, len(coverage) + 1)
        axes.set_ylabel("Covered [%]")
        axes.set_xlabel("Region, in the atlas's order")
        axes.set_title(f"Coverage: {len(missing)} of {len(coverage)} regions under {PARTLY:.0%}")
        worst = [labels[region] for region in missing[np.argsort(coverage[missing], kind="stable")][:5]]
        words = (
            f"Share of each of {len(coverage)} regions that the run covers; {len(missing)} are under {PARTLY:.0%}"
            + (f", the least covered being {', '.join(worst)}." if worst else ".")
        )
        return save_svg(figure, out_file, title="Coverage of the regions", description=words)


def rank(values: Array) -> npt.NDArray[np.intp]:
    """Return the indices of the finite values from lowest to highest, ties in the given order."""
    order = np.argsort(values, kind="stable")
    return order[np.isfinite(values[order])]
