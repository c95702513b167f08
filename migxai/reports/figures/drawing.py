"""Figures that come out as the same bytes every time, and the plots of a run.

All have one style, use no pyplot, and become a clean SVG. nireports' own plots draw through pyplot's global state, put
a random UUID into every file and call an external compressor where it is installed: the same run would give other bytes
each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from migxai.io import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Width of every figure in inches, so that letters have one size all over the report.
WIDTH = 10.0

#: The brain mask's red stands apart from white matter's orange on grey pictures.
MASK_COLOUR = "#FF2D55"
#: Okabe and Ito's colours, which people with any kind of colour vision tell apart.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6B7280"
#: Of letters, as in the style sheet.
INK = "#1f2933"
TISSUE_COLOURS = {"GM": BLUE, "WM": ORANGE, "CSF": GREEN}

_STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "grid.color": "#E5E7EB",
    "grid.linewidth": 0.6,
    "image.composite_image": False,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "savefig.dpi": 100,
    # Letters as paths: what is seen does not depend on the fonts of the reader's machine.
    "svg.fonttype": "path",
    "svg.hashsalt": "migxai",
    "svg.id": None,
}

_PATHS = re.compile(r'(?<= d=")[^"]+')
_LONG = re.compile(r"-?\d+\.\d{3,}")


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw in migxai's style, whatever the user's own matplotlib settings are."""
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]):
        yield


def new_figure(height: float) -> Figure:
    """Return an empty figure of the report's width and a height in inches, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def bare(axes: Axes) -> None:
    """Strip an axes that carries a picture of ticks, grid and frame."""
    axes.set_axis_off()
    axes.grid(visible=False)


def save_svg(figure: Figure, out_file: Path, *, title: str, description: str, style: str = "") -> Path:
    """Write a figure as SVG that holds neither date nor version nor reference to another file.

    Parameters
    ----------
    figure
        The figure.
    out_file
        Where to; written under a temporary name and renamed.
    title, description
        What the figure is, and what it shows, in words: they become the SVG's ``title`` and ``desc``, and the
        report's alternative text.
    style
        Style sheet to embed, for the flicker of overlays.

    Returns
    -------
    Path
        `out_file`.
    """
    buffer = StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    write_text(out_file, _clean(buffer.getvalue(), title, description, style))
    return out_file


def _clean(svg: str, title: str, description: str, style: str) -> str:
    # The prologue names a DTD on the web and the metadata name standards by URL: neither has a use here.
    body = svg[svg.index("<svg") :]
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # Inside a page the rule would reach everything.
    body = body.replace("*{stroke", "svg *{stroke")
    # A hundredth of a point is below what any screen shows, and outlines take half the room.
    body = _PATHS.sub(lambda path: _LONG.sub(lambda digits: f"{float(digits[0]):.2f}", path[0]), body)
    head, rest = body.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    words = f"<title>{escape(title)}</title>\n<desc>{escape(description)}</desc>\n"
    sheet = f'<style type="text/css">{style}</style>\n' if style else ""
    return f'{head} role="img">\n{words}{sheet}{rest.lstrip()}'


Array = npt.NDArray[np.float64]
Series = npt.NDArray[np.generic]


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

    Parameters are (T, 6): mm along x, y, z, then degrees about them; the displacement (T,) is Power's in mm. Limits of
    exclusion are dashed lines where the motion comes near them. Volumes above the threshold are censored; if it is
    None, 0.5 mm is drawn for orientation only.
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


#: Rows drawn for each tissue. A screen shows no more, and the file stays small.
_ROWS = {"GM": 260, "WM": 130, "CSF": 60}


def plot_carpet(
    before: Series,
    after: Series,
    tissues: Mapping[str, npt.NDArray[np.bool_]],
    out_file: Path,
    *,
    repetition_time: float,
    displacement: Array | None = None,
) -> Path:
    """Draw the carpet before and after denoising, in the same order of voxels.

    Each row is one voxel's series in units of its own standard deviation (Power 2017). Rows are sampled evenly from
    each tissue and sorted by how closely they follow the tissue's mean before denoising, so what is common to many
    voxels shows as vertical bands. Series are (..., T) and tissues masks (...) named GM, WM and CSF, of which an empty
    one is left out; framewise displacement (T,) is drawn on top.
    """
    rows = {name: _choose(mask, _ROWS[name]) for name, mask in tissues.items() if np.any(mask)}
    first = {name: _standardise(before, chosen) for name, chosen in rows.items()}
    order = {name: _by_mean(block) for name, block in first.items()}
    blocks = [np.vstack([first[name][order[name]] for name in rows])]
    blocks.append(np.vstack([_standardise(after, chosen)[order[name]] for name, chosen in rows.items()]))
    edges = np.cumsum([0, *(len(order[name]) for name in rows)])
    duration = before.shape[-1] * repetition_time
    with drawing_style():
        figure = new_figure(6.6)
        ratios = ([0.5] if displacement is not None else []) + [3, 3]
        axes = figure.subplots(
            len(ratios), 2, squeeze=False, sharex="col", width_ratios=[0.012, 1], height_ratios=ratios
        )
        if displacement is not None:
            bare(axes[0, 0])
            time = (np.arange(len(displacement)) + 0.5) * repetition_time
            axes[0, 1].plot(time, displacement, color=GREY)
            axes[0, 1].set_title("Framewise displacement [mm]")
            axes[0, 1].set_ylim(bottom=0)
        titles = ("Before denoising", "After denoising (regressed and filtered)")
        grey: dict[str, Any] = {"cmap": "gray", "vmin": -2, "vmax": 2, "aspect": "auto", "interpolation": "none"}
        for (side, main), block, title in zip(axes[-2:], blocks, titles, strict=True):
            main.imshow(block, extent=(0, duration, edges[-1], 0), **grey)
            main.set_title(title)
            main.grid(visible=False)
            main.set_yticks([])
            bare(side)
            side.set_ylim(edges[-1], 0)
            side.set_xlim(0, 1)
            for name, low, high in zip(rows, edges[:-1], edges[1:], strict=True):
                side.fill_between([0, 1], low, high, color=TISSUE_COLOURS[name], linewidth=0)
                side.text(-0.6, (low + high) / 2, name, ha="right", va="center")
                main.axhline(low, color="white", linewidth=0.8)
        axes[-1, 1].set_xlabel("Time [s]")
        axes[-1, 1].set_xlim(0, duration)
        words = (
            "Series of voxels as rows of grey, dark below and bright above each voxel's mean (scale plus or minus 2 "
            f"standard deviations), before and after denoising, ordered by tissue: {', '.join(rows)}."
        )
        return save_svg(figure, out_file, title="Carpet plot before and after denoising", description=words)


def _standardise(series: Series, rows: npt.NDArray[np.intp]) -> Array:
    block = _straight(series, rows)
    deviation = block.std(axis=-1, keepdims=True)
    return np.asarray(block / np.where(deviation > 0, deviation, 1.0))


def _by_mean(block: Array) -> npt.NDArray[np.intp]:
    return np.argsort(-(block @ block.mean(axis=0)), kind="stable")


#: Voxels whose spectra are averaged; more change the mean by less than the width of its line.
_VOXELS = 4000


def plot_spectra(
    before: Series,
    after: Series,
    mask: npt.NDArray[np.bool_],
    out_file: Path,
    *,
    repetition_time: float,
    band: tuple[float, float] = (0.01, 0.08),
) -> Path:
    """Draw mean power spectra over a mask (...) of series (..., T) before and after denoising, with the band (Hz)."""
    frequency, first = mean_spectrum(before, mask, repetition_time)
    _, second = mean_spectrum(after, mask, repetition_time)
    scale = first[1:].mean() or 1.0
    inside = (frequency >= band[0]) & (frequency <= band[1])
    share = [float(power[inside].sum() / max(power[1:].sum(), 1e-300)) for power in (first, second)]
    with drawing_style():
        figure = new_figure(3.2)
        axes = figure.subplots()
        axes.axvspan(*band, color=GREEN, alpha=0.15, linewidth=0, label=f"band {band[0]:g} to {band[1]:g} Hz")
        axes.semilogy(frequency[1:], first[1:] / scale, color=GREY, label=f"before ({share[0]:.0%} of power in band)")
        axes.semilogy(frequency[1:], second[1:] / scale, color=BLUE, label=f"after ({share[1]:.0%} in band)")
        top = max(float((first[1:] / scale).max()), float((second[1:] / scale).max()))
        axes.set_ylim(top * 1e-5, top * 2)
        axes.set_xlim(0, float(frequency[-1]))
        axes.set_xlabel("Frequency [Hz]")
        axes.set_ylabel("Power [mean before = 1]")
        axes.set_title("Mean power spectrum of grey matter")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
        words = (
            f"Mean power spectrum of grey matter. Of the power, {share[0]:.0%} lies within {band[0]:g} to {band[1]:g} "
            f"Hz before denoising and {share[1]:.0%} after."
        )
        return save_svg(figure, out_file, title="Power spectra", description=words)


def mean_spectrum(series: Series, mask: npt.NDArray[np.bool_], repetition_time: float) -> tuple[Array, Array]:
    """Return frequencies (Hz) and the mean periodogram of series (..., T) over a mask (...), linear trends removed."""
    from scipy.signal import periodogram

    straight = _straight(series, _choose(mask, _VOXELS))
    frequency, power = periodogram(straight, fs=1.0 / repetition_time, detrend=False, axis=-1)
    return np.asarray(frequency), np.asarray(power.mean(axis=0))


def _choose(mask: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.intp]:
    """Choose voxels of a mask, evenly spread."""
    inside = np.flatnonzero(mask)
    return inside[np.unique(np.linspace(0, len(inside) - 1, min(count, len(inside))).round().astype(np.intp))]


def _straight(series: Series, rows: npt.NDArray[np.intp]) -> Array:
    """Return some voxels' series without their linear trends."""
    from scipy.signal import detrend

    block = np.asarray(series[np.unravel_index(rows, series.shape[:-1])], dtype=np.float64)
    return np.asarray(detrend(block, axis=-1), dtype=np.float64)


#: Coverage below which a region is called partly covered, and below which hardly covered.
PARTLY, HARDLY = 0.9, 0.5


def plot_regions(labels: Sequence[str], values: Array, out_file: Path, *, name: str, count: int = 10) -> Path:
    """Draw the regions with the highest and the lowest values (R,), `count` at either end; NaN ones are left out."""
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
    """Draw what share (R,), from 0 to 1, of each region's voxels the run covers."""
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
