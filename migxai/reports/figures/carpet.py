"""Carpet plots: every voxel's series as a row of grey, before and after denoising."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from migxai.reports.figures.canvas import GREY, TISSUE_COLOURS, bare, drawing_style, new_figure, save_svg

Array = npt.NDArray[np.float64]

#: Rows drawn for each tissue. A screen shows no more, and the file stays small.
_ROWS = {"GM": 260, "WM": 130, "CSF": 60}


def plot_carpet(
    before: npt.NDArray[np.generic],
    after: npt.NDArray[np.generic],
    tissues: Mapping[str, npt.NDArray[np.bool_]],
    out_file: Path,
    *,
    repetition_time: float,
    displacement: Array | None = None,
) -> Path:
    """Draw the carpet before and after denoising, in the same order of voxels.

    Each row is one voxel's series in units of its own standard deviation (Power 2017). Rows are sampled evenly from
    each tissue and sorted by how closely they follow the tissue's mean before denoising, so what is common to many
    voxels shows as vertical bands.

    Parameters
    ----------
    before, after
        Series of the same voxels, shape (..., T); both whole 4-D images and (V, T) tables will do.
    tissues
        Masks of shape (...) named GM, WM and CSF; an empty one is left out.
    out_file
        SVG file to write.
    repetition_time
        In seconds.
    displacement
        Framewise displacement in mm, shape (T,), drawn on top.

    Returns
    -------
    Path
        `out_file`.
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
        for (side, main), block, title in zip(
            axes[-2:], blocks, ("Before denoising", "After denoising (regressed and filtered)"), strict=True
        ):
            main.imshow(
                block,
                cmap="gray",
                vmin=-2,
                vmax=2,
                aspect="auto",
                interpolation="none",
                extent=(0, duration, edges[-1], 0),
            )
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


def _choose(mask: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.intp]:
    inside = np.flatnonzero(mask)
    return inside[np.unique(np.linspace(0, len(inside) - 1, min(count, len(inside))).round().astype(np.intp))]


def _standardise(series: npt.NDArray[np.generic], rows: npt.NDArray[np.intp]) -> Array:
    from scipy.signal import detrend

    index = np.unravel_index(rows, series.shape[:-1])
    block = detrend(np.asarray(series[index], dtype=np.float64), axis=-1)
    deviation = block.std(axis=-1, keepdims=True)
    return np.asarray(block / np.where(deviation > 0, deviation, 1.0))


def _by_mean(block: Array) -> npt.NDArray[np.intp]:
    return np.argsort(-(block @ block.mean(axis=0)), kind="stable")
