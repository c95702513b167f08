"""Pictures of the whole: who is in, every score against chance, and how many people an interval needs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from migxai.audit.verdict import Judged, chance_of
from migxai.evaluation.results import Results, ScoredModel, indicator_name
from migxai.evaluation.wording import percent, plural
from migxai.learning.estimators import baselines
from migxai.reports.figures.drawing import BLUE, GREEN, GREY, ORANGE, RED, new_figure
from migxai.reports.group.curves import half_width, people_needed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#1f2933"


def reasons(results: Results) -> list[tuple[str, int]]:
    """Count why people are left out; reasons that differ in their numbers alone are one."""
    people = results.people
    if people.empty:
        return []
    texts = people.loc[people["included"] != "yes", "reason"].astype(str)
    alike: dict[str, list[str]] = {}
    for text in texts:
        alike.setdefault(re.sub(r"\d+(\.\d+)?", "#", text), []).append(text)
    merged = [(_merge(found), len(found)) for found in alike.values()]
    return sorted(merged, key=lambda one: (-one[1], one[0]))


def _merge(texts: Sequence[str]) -> str:
    """Write sentences that differ in numbers as one, with ranges in place of the numbers that differ."""
    numbers = [re.findall(r"\d+(?:\.\d+)?", text) for text in texts]
    spans = []
    for column in zip(*numbers, strict=True):
        low, high = min(column, key=float), max(column, key=float)
        spans.append(low if low == high else f"{low} to {high}")
    parts = iter(spans)
    return re.sub(r"\d+(?:\.\d+)?", lambda _: next(parts), texts[0])


def flow_figure(results: Results) -> tuple[Figure, str] | None:
    """Draw who was found, who is left out and why, and who is compared; None without a table of the cohort."""
    people = results.people
    if people.empty:
        return None
    included, left = int((people["included"] == "yes").sum()), reasons(results)
    out = len(people) - included
    why = [f"{count}: {text}" for text, count in left] or ["nobody"]
    wrapped = [line for text in why for line in textwrap.wrap(text, 62, subsequent_indent="   ")]
    compared = []
    for name in results.comparisons:
        counts = results.class_counts(name)
        classes = ", ".join(f"{n} {label}" for label, n in counts.items())
        compared.append(f"{results.title(name)}\n{sum(counts.values())}: {classes}")
    height = 2.6 + 0.17 * len(wrapped)
    figure = new_figure(height)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, height)
    middle, stem = 1.55 + 0.085 * len(wrapped), 1.9
    found = "in 1 dataset" if people["dataset"].nunique() == 1 else f"in {people['dataset'].nunique()} datasets"
    _box(axes, stem, height - 0.4, f"{plural(len(people), 'person', 'people')} {found}", bold=True)
    _box(axes, 3.6, middle, f"{out} left out\n" + "\n".join(wrapped), colour=RED if out else GREY, align="left")
    _box(axes, stem, 1.25, f"{plural(included, 'person', 'people')} in the analysis", bold=True, colour=GREEN)
    _arrow(axes, (stem, height - 0.65), (stem, 1.45))
    _arrow(axes, (stem, middle), (3.5, middle))
    places = [stem] if len(compared) == 1 else np.linspace(stem - 0.2, 8.3, len(compared))
    for x, text in zip(places, compared, strict=True):
        _arrow(axes, (stem, 1.05), (float(x), 0.55))
        _box(axes, float(x), 0.3, text, colour=BLUE)
    words = (
        f"Flow of people: {len(people)} found, {out} left out ({'; '.join(why)}), {included} in the analysis. "
        f"Compared: {'; '.join(text.replace(chr(10), ', ') for text in compared)}."
    )
    return figure, words


def _box(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    *,
    bold: bool = False,
    colour: str = GREY,
    align: Literal["center", "left"] = "center",
) -> None:
    shape = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": colour, "linewidth": 1.2}
    written = axes.text(x, y, text, ha=align, va="center", color=_INK, fontsize=9, linespacing=1.35, bbox=shape)
    written.set(weight="bold" if bold else "normal", zorder=3, multialignment=align)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 1.0}, zorder=1)


#: Scores of the overview: title, and the level that is chance.
_PANELS = (("accuracy", "Accuracy"), ("balanced_accuracy", "Balanced accuracy"), ("area", "Area under the ROC curve"))


def scores_figure(results: Results, comparison: str) -> tuple[Figure, str] | None:
    """Draw every model's scores with intervals, beside chance, the baselines and what permuted labels reach."""
    cells = [cell for cell in results.scored_models_of(comparison) if cell.model != "majority"]
    if not cells:
        return None
    indicators = list(dict.fromkeys(cell.indicator for cell in cells))
    cells = [cell for name in indicators for cell in cells if cell.indicator == name]
    chance = chance_of(results, comparison)
    levels = {"accuracy": chance.level, "balanced_accuracy": 1 / chance.classes, "area": 0.5}
    # A blank line before each indicator, for its name.
    places = np.array([row + 1 + indicators.index(cell.indicator) for row, cell in enumerate(cells)], dtype=float)
    figure = new_figure(1.1 + 0.23 * (len(cells) + len(indicators)))
    for axes, (metric, title) in zip(figure.subplots(1, 3, sharey=True), _PANELS, strict=True):
        axes.set_title(title if metric == "area" else f"{title} [%]", fontsize=9)
        axes.axvline(levels[metric], color=GREY, linestyle=(0, (4, 3)), linewidth=0.9)
        for cell, place in zip(cells, places, strict=True):
            _score(axes, cell, metric, float(place))
        axes.set_xlim(0, 1)
        axes.set_xticks(np.linspace(0, 1, 5), ["0", "25", "50", "75", "100"] if metric != "area" else None)
        axes.grid(visible=False, axis="y")
    names = [cell.name.split(" on ")[0] for cell in cells]
    axes.set_yticks(places, names)
    axes.set_ylim(len(cells) + len(indicators) - 0.4, -0.6)
    for name in indicators:
        first = next(place for cell, place in zip(cells, places, strict=True) if cell.indicator == name)
        figure.axes[0].text(0.01, first - 1, indicator_name(name), weight="bold", va="center", fontsize=9)
    _legend(figure, any(cell.permuted for cell in cells))
    said = [f"{cell.name} {percent(cell.scores['accuracy'].value)}" for cell in cells]
    words = (
        f"Scores of {results.title(comparison)}, subject level, with 95 % intervals; the dashed lines are chance "
        f"(accuracy: always naming {chance.largest}, {percent(chance.level)}). Accuracies: {'; '.join(said)}."
    )
    return figure, words


def _score(axes: Axes, cell: ScoredModel, metric: str, place: float) -> None:
    # Of more than two classes the area has another name, but not where labels were permuted.
    test = cell.permuted.get("roc_auc" if metric == "area" else metric)
    score = cell.scores.get(cell.area if metric == "area" else metric)
    if test is not None:
        axes.barh(place, test.top - test.mean, left=test.mean, height=0.62, color="#D5DBE1", linewidth=0, zorder=1)
    if score is None or np.isnan(score.value):
        return
    colour = ORANGE if cell.model in baselines() else BLUE
    axes.hlines(place, score.low, score.high, color=colour, linewidth=1.6, zorder=2)
    axes.plot(score.value, place, "o", color=colour, markersize=4.5, zorder=3)


def _legend(figure: Figure, permuted: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Line2D | Patch] = [
        Line2D([], [], color=BLUE, marker="o", markersize=4.5, label="from brain maps, 95 % interval"),
        Line2D([], [], color=ORANGE, marker="o", markersize=4.5, label="nuisance variables only"),
        Line2D([], [], color=GREY, linestyle=(0, (4, 3)), label="chance"),
    ]
    if permuted:
        handles.append(Patch(color="#D5DBE1", label="permuted labels: mean to 95th percentile"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)


def precision_figure(judged: Sequence[Judged]) -> tuple[Figure, str] | None:
    """Draw how the interval of an accuracy narrows with people, and where ours stand; None without results."""
    if not judged:
        return None
    n = np.geomspace(10, 3000, 200)
    figure = new_figure(3.3)
    axes = figure.subplots()
    shares = ((0.5, BLUE), (0.75, GREEN), (0.9, ORANGE), (0.98, RED))
    for share, colour in shares:
        axes.plot(n, 100 * half_width(share, n), color=colour, label=f"accuracy {share:.0%}")
        axes.plot(people_needed(share, 0.05), 5, "o", color=colour, markersize=4)
    axes.axhline(5, color=GREY, linestyle=(0, (4, 3)), linewidth=0.9)
    for one in judged:
        axes.axvline(one.cell.n, color=_INK, linewidth=0.6, alpha=0.6)
    ours = sorted({one.cell.n for one in judged})
    axes.set_xscale("log")
    axes.set_xticks([10, 20, 50, 100, 200, 500, 1000, 3000], ["10", "20", "50", "100", "200", "500", "1000", "3000"])
    axes.minorticks_off()
    axes.set_xlim(10, 3000)
    axes.set_ylim(0, 32)
    axes.set_xlabel(f"People, each tested once (this run: {', '.join(map(str, ours))}, the upright lines)")
    axes.set_ylabel("95 % interval [± points]")
    axes.legend(loc="upper right")
    needed = ", ".join(f"{people_needed(share, 0.05)} at an accuracy of {share:.0%}" for share, _ in shares)
    words = (
        f"Half the width of a 95 % interval of an accuracy against the number of people. Plus or minus 5 points need "
        f"{needed}; this run has {', '.join(map(str, ours))} people."
    )
    return figure, words


def learning_figure(results: Results, comparison: str) -> tuple[Figure, str] | None:
    """Draw accuracy against the people trained on, where ``learning_curve.tsv`` says it; None if it does not."""
    table = results.tables["learning_curve.tsv"]
    rows = table if table.empty else table[table["comparison"] == comparison]
    if rows.empty:
        return None
    curves = list(rows.groupby(["indicator", "model"], sort=False))
    figure = new_figure(3.3)
    axes = figure.subplots()
    said = []
    for place, ((indicator, model), points) in enumerate(curves):
        points = points.sort_values("n")
        name = ScoredModel(comparison, str(indicator), str(model), 0, 0, {}).name
        colour = (BLUE, RED, GREEN, ORANGE, GREY)[place % 5]
        axes.fill_between(points["n"], 100 * points["low"], 100 * points["high"], color=colour, alpha=0.14, linewidth=0)
        axes.plot(points["n"], 100 * points["value"], color=colour, marker="o", markersize=3.5, label=name)
        first, last = points.iloc[0], points.iloc[-1]
        said.append(
            f"{name} from {percent(first['value'])} with {first['n']:g} to {percent(last['value'])} with {last['n']:g}"
        )
    level = chance_of(results, comparison).level
    axes.axhline(100 * level, color=GREY, linestyle=(0, (4, 3)), linewidth=0.9)
    axes.set_ylim(0, 100)
    axes.set_xlabel("People trained on")
    axes.set_ylabel("Accuracy [%]")
    axes.legend(loc="lower right", fontsize=8)
    words = f"Learning curves of {results.title(comparison)}: accuracy of {'; '.join(said)}. Dashed: chance."
    return figure, words
