"""ROC curves, calibration and confusion matrices: a picture for each comparison, a panel for each indicator and model.

Bands and bars come from resampled subjects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from migxai.evaluation.results import Results, ScoredModel, indicator_name, model_name
from migxai.metrics.inference import resample_groups
from migxai.reports.figures.drawing import BLUE, GREEN, GREY, INK, ORANGE, RED, WIDTH, new_figure
from migxai.reports.group.gallery import Drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from migxai.evaluation.predictions import PredictionSet

Array = NDArray[np.float64]

#: Of classes, in order; with more of them colours come again.
COLOURS = (BLUE, RED, GREEN, ORANGE)

#: A panel is at most so wide, in inches: few models should not make giants.
_WIDEST = 2.6

#: Resamples of subjects behind a band. Its edges move by less than a line's width from here to 2000.
RESAMPLES = 1000
#: False positive rates at which curves are averaged.
GRID: Array = np.linspace(0.0, 1.0, 101)

Draw = Callable[["Axes", "PredictionSet", ScoredModel], None]


def roc_figure(results: Results, comparison: str) -> Drawn | None:
    """Draw ROC curves with bands; returns the figure and what it shows, None without predictions."""

    def draw(axes: Axes, unit: PredictionSet, cell: ScoredModel) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.7, linestyle=(0, (4, 3)))
        for place, label in _ranked(unit):
            band = roc_band(unit, place, seed=results.seed)
            if band is not None:
                colour = COLOURS[place % len(COLOURS)]
                axes.fill_between(band.x, band.low, band.high, color=colour, alpha=0.16, linewidth=0)
                axes.plot(band.x, band.middle, color=colour, label=label)
        area = cell.scores.get(cell.area)
        if area is not None:
            bounds = "" if np.isnan(area.low) else f"\n{area.low:.2f} to {area.high:.2f}"
            axes.text(0.97, 0.04, f"AUC {area.value:.2f}{bounds}", ha="right", va="bottom", fontsize=8, **_plate())
        _square(axes)

    found = _grid(results, comparison, draw, ("False positive rate", "True positive rate"))
    if found is None:
        return None
    figure, cells = found
    areas = [f"{cell.name} {cell.scores[cell.area].value:.2f}" for cell in cells if cell.area in cell.scores]
    words = (
        f"ROC curves of {results.title(comparison)}, subject level, mean over trials, with pointwise 95 % bands from "
        f"resampled subjects. Areas: {'; '.join(areas)}. The dashed diagonal is chance."
    )
    return figure, words


def calibration_figure(results: Results, comparison: str) -> Drawn | None:
    """Draw how often people are of a class against the probability they were given; as `roc_figure`."""

    def draw(axes: Axes, unit: PredictionSet, cell: ScoredModel) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.7, linestyle=(0, (4, 3)))
        for place, label in _ranked(unit):
            band = calibration_band(unit, place, seed=results.seed)
            colour = COLOURS[place % len(COLOURS)]
            axes.vlines(band.x, band.low, band.high, color=colour, linewidth=1.0, alpha=0.6)
            axes.plot(band.x, band.middle, color=colour, marker="o", markersize=3.5, linewidth=0.8, label=label)
        error = cell.scores.get("ece")
        if error is not None:
            axes.text(0.97, 0.04, f"ECE {error.value:.2f}", ha="right", va="bottom", fontsize=8, **_plate())
        _square(axes)

    found = _grid(results, comparison, draw, ("Predicted probability", "Share of people"))
    if found is None:
        return None
    figure, cells = found
    errors = [f"{cell.name} {cell.scores['ece'].value:.2f}" for cell in cells if "ece" in cell.scores]
    words = (
        f"Calibration of {results.title(comparison)}, subject level: the share of people who are of a class, for those "
        "given similar probabilities of it (up to five bins), with 95 % bars from resampled subjects (none where there "
        "are too few); on the dashed diagonal probabilities can be taken at their word. Expected calibration errors: "
        f"{'; '.join(errors)}."
    )
    return figure, words


def confusion_figure(results: Results, comparison: str) -> Drawn | None:
    """Draw confusion matrices, counts averaged over trials; as `roc_figure`."""
    said: list[str] = []

    def draw(axes: Axes, unit: PredictionSet, cell: ScoredModel) -> None:
        counts = _confusion(unit)
        shares = counts / counts.sum(axis=1, keepdims=True)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.1)
        for (row, column), share in np.ndenumerate(shares):
            text = f"{share:.0%}\n{counts[row, column]:.3g}"
            colour = "white" if share > 0.7 else INK
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour, linespacing=1.1)
        places = range(len(unit.classes))
        axes.set_xticks(places, _short(unit.classes), fontsize=8)
        axes.set_yticks(places, _short(unit.classes), fontsize=8, rotation=90, va="center")
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        right = [f"{label} {shares[place, place]:.0%}" for place, label in enumerate(unit.classes)]
        said.append(f"{cell.name}: {', '.join(right)}")

    found = _grid(results, comparison, draw, ("Predicted", "True"), shared=False)
    if found is None:
        return None
    words = (
        f"Confusion matrices of {results.title(comparison)}, subject level: rows are true classes, columns predicted "
        "ones; the share of each true class, and how many people that is, mean over trials. Of each class right: "
        f"{'; '.join(said)}."
    )
    return found[0], words


def _grid(
    results: Results, comparison: str, draw: Draw, labels: tuple[str, str], *, shared: bool = True
) -> tuple[Figure, list[ScoredModel]] | None:
    """Draw a panel for each cell with predictions: a row an indicator, a column a model; returns the cells drawn."""
    cells = [
        cell
        for cell in results.scored_models_of(comparison)
        if cell.model != "majority" and results.predictions_of(cell)
    ]
    if not cells:
        return None
    models = list(dict.fromkeys(cell.model for cell in cells))
    indicators = list(dict.fromkeys(cell.indicator for cell in cells))
    width = min(_WIDEST, (WIDTH - 0.4) / len(models))
    figure = new_figure(0.75 + (width + 0.12) * len(indicators))
    figure.set_figwidth(max(0.6 + width * len(models), WIDTH / 2))
    panels = figure.subplots(len(indicators), len(models), squeeze=False, sharex=shared, sharey=shared)
    for axes in panels.flat:
        axes.set_visible(False)
    for cell in cells:
        row, column = indicators.index(cell.indicator), models.index(cell.model)
        axes, unit = panels[row, column], results.predictions_of(cell)
        assert unit is not None
        axes.set_visible(True)
        draw(axes, unit, cell)
        if row == 0:
            axes.set_title(model_name(cell.model), fontsize=9)
        if column == 0:
            axes.set_ylabel(f"{indicator_name(cell.indicator)}\n{labels[1]}", fontsize=8)
        if row == len(indicators) - 1:
            axes.set_xlabel(labels[0], fontsize=8)
    handles = panels[0, 0].get_legend_handles_labels()
    if len(handles[1]) > 1:
        figure.legend(*handles, loc="outside lower center", ncols=len(handles[1]), fontsize=8)
    return figure, cells


def _ranked(unit: PredictionSet) -> list[tuple[int, str]]:
    """Return the classes that curves are drawn of: of two the positive one."""
    return [(1, unit.classes[1])] if len(unit.classes) == 2 else list(enumerate(unit.classes))


def _confusion(unit: PredictionSet) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    counts = np.zeros((len(unit.classes),) * 2)
    np.add.at(counts, (unit.y, unit.predicted), 1 / len(unit.trials))
    return counts


def _square(axes: Axes) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"], fontsize=8)
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"], fontsize=8)


def _plate() -> dict[str, Any]:
    return {"bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.0}}


def _short(labels: Sequence[str]) -> list[str]:
    """Break class names made of several groups, so that neighbours do not touch."""
    return [label.replace("+", "+\n") for label in labels]


class Band(NamedTuple):
    """A curve and its pointwise 95 % band, at `GRID` or at the points given."""

    x: Array
    middle: Array
    low: Array
    high: Array


def roc_band(unit: PredictionSet, positive: int, *, seed: int, resamples: int = RESAMPLES) -> Band | None:
    """Trace the ROC curve of a class against the rest, mean over trials, with a band from resampled subjects.

    Subjects are drawn with replacement within their classes; all trials of a subject are drawn together. At each false
    positive rate the band spans the 2.5th to 97.5th percentile of the resampled curves (vertical averaging; Fawcett
    2006, doi:10.1016/j.patrec.2005.10.010). It is None if a trial lacks people of the class, or others.
    """
    weights = resample_groups(unit.subject_classes(), resamples=resamples, seed=seed)
    points, curves = [], []
    for trial in range(len(unit.trials)):
        rows = np.flatnonzero(unit.trial == trial)
        truth = unit.y[rows] == positive
        if truth.all() or not truth.any():
            return None
        order = np.argsort(-unit.p[rows, positive], kind="stable")
        scores = unit.p[rows[order], positive]
        # Rows of one score enter together: the curve slopes where they tie.
        last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
        drawn = np.vstack([np.ones(len(rows)), weights[:, unit.subject[rows[order]]]])
        rates = [_rate(drawn * chosen, last) for chosen in (~truth[order], truth[order])]
        tpr = np.array([np.interp(GRID, fpr, hits) for fpr, hits in zip(*rates, strict=True)])
        points.append(tpr[0])
        curves.append(tpr[1:])
    low, high = np.quantile(np.mean(curves, axis=0), [0.025, 0.975], axis=0)
    return Band(GRID, np.mean(points, axis=0), low, high)


def _rate(counts: Array, last: NDArray[np.intp]) -> Array:
    """Return cumulated shares at the ends of runs of ties, from 0 to 1; (B, runs + 1)."""
    sums = np.cumsum(counts, axis=1)
    # Resampling within classes keeps every class's size, so no total is 0.
    shares: Array = np.hstack([np.zeros((len(sums), 1)), sums[:, last] / sums[:, -1:]])
    return shares


def calibration_band(
    unit: PredictionSet, positive: int, *, seed: int, bins: int = 5, resamples: int = RESAMPLES
) -> Band:
    """Compare probabilities of a class with how often it is true, in bins of equal width, with bars from resampling.

    All trials' predictions are taken together. There is a point for each bin that holds anybody: mean probability,
    share of people who are of the class, and the 95 % interval of that share (NaN in a bin that more than one resample
    in twenty leaves empty).
    """
    p, truth = unit.p[:, positive], (unit.y == positive).astype(np.float64)
    index = np.clip(np.ceil(p * bins).astype(np.intp) - 1, 0, bins - 1)
    member = (index[:, None] == np.arange(bins)).astype(np.float64)
    counts = member.sum(axis=0)
    held = counts > 0
    weights = resample_groups(unit.subject_classes(), resamples=resamples, seed=seed)[:, unit.subject]
    drawn, hits = weights @ member[:, held], (weights * truth) @ member[:, held]
    shares = np.divide(hits, drawn, out=np.full_like(hits, np.nan), where=drawn > 0)
    bounds: Array = np.full((2, int(held.sum())), np.nan)
    enough = np.isfinite(shares).mean(axis=0) >= 0.95
    bounds[:, enough] = np.nanquantile(shares[:, enough], [0.025, 0.975], axis=0)
    return Band((p @ member)[held] / counts[held], (truth @ member)[held] / counts[held], bounds[0], bounds[1])
