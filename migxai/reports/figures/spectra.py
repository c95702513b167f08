"""Power spectra of grey matter before and after denoising."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from migxai.reports.figures.canvas import BLUE, GREEN, GREY, drawing_style, new_figure, save_svg

Array = npt.NDArray[np.float64]

#: Voxels whose spectra are averaged; more change the mean by less than the width of its line.
_VOXELS = 4000


def plot_spectra(
    before: npt.NDArray[np.generic],
    after: npt.NDArray[np.generic],
    mask: npt.NDArray[np.bool_],
    out_file: Path,
    *,
    repetition_time: float,
    band: tuple[float, float] = (0.01, 0.08),
) -> Path:
    """Draw the mean power spectrum over a mask before and after denoising, with the pass band marked.

    Parameters
    ----------
    before, after
        Series of the same voxels, shape (..., T).
    mask
        Grey matter, shape (...).
    out_file
        SVG file to write.
    repetition_time
        In seconds.
    band
        Pass band in Hz.

    Returns
    -------
    Path
        `out_file`.
    """
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


def mean_spectrum(
    series: npt.NDArray[np.generic], mask: npt.NDArray[np.bool_], repetition_time: float
) -> tuple[Array, Array]:
    """Return frequencies (Hz) and the mean periodogram over a mask, after removal of linear trends.

    Parameters
    ----------
    series
        Shape (..., T).
    mask
        Shape (...).
    repetition_time
        In seconds.
    """
    from scipy.signal import detrend, periodogram

    rows = np.flatnonzero(mask)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(_VOXELS, len(rows))).round().astype(np.intp))]
    block = np.asarray(series[np.unravel_index(rows, series.shape[:-1])], dtype=np.float64)
    straight = np.asarray(detrend(block, axis=-1), dtype=np.float64)
    frequency, power = periodogram(straight, fs=1.0 / repetition_time, detrend=False, axis=-1)
    return np.asarray(frequency), np.asarray(power.mean(axis=0))
