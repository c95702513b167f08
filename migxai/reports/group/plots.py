"""One picture a comparison, a panel for each indicator and model: ROC curves, confusion matrices, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from migxai.evaluation.results import Results, ScoredModel, indicator_name, model_name
from migxai.reports.figures.drawing import BLUE, GREEN, GREY, ORANGE, RED, WIDTH, new_figure
from migxai.reports.group.curves import calibration_band, roc_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from migxai.evaluation.predictions import PredictionSet

#: Of classes, in order; with more of them colours come again.
COLOURS = (BLUE, RED, GREEN, ORANGE)

#: A panel is at most so wide, in inches: few models should not make giants.
_WIDEST = 2.6

Draw = Callable[["Axes", "PredictionSet", ScoredModel], None]


def roc_figure(results: Results, comparison: str) -> tuple[Figure, str] | None:
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


def calibration_figure(results: Results, comparison: str) -> tuple[Figure, str] | None:
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


def confusion_figure(results: Results, comparison: str) -> tuple[Figure, str] | None:
    """Draw confusion matrices, counts averaged over trials; as `roc_figure`."""
    said: list[str] = []

    def draw(axes: Axes, unit: PredictionSet, cell: ScoredModel) -> None:
        counts = _confusion(unit)
        shares = counts / counts.sum(axis=1, keepdims=True)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.1)
        for (row, column), share in np.ndenumerate(shares):
            text = f"{share:.0%}\n{counts[row, column]:.3g}"
            colour = "white" if share > 0.7 else "#1f2933"
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
