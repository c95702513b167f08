"""The results: tables beside the paper's, scores, curves, who was misclassified, and what the sample size can show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from migxai.audit.headline import AssessedResult, chance_level
from migxai.evaluation.formatting import interval, percent, slug
from migxai.evaluation.paper import NOTES, published_problems
from migxai.evaluation.results import Results, ScoredModel, indicator_name
from migxai.learning.estimators import baselines
from migxai.reports.figures.drawing import BLUE, GREEN, GREY, INK, ORANGE, RED, new_figure
from migxai.reports.group.gallery import Drawn, Gallery, Picture
from migxai.reports.group.prediction_figures import calibration_figure, confusion_figure, roc_figure
from migxai.reports.rendering import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


#: Two-sided 95 % point of the normal distribution.
Z = 1.959963984540054


#: Scores of the overview: title, and the level that is chance.
_PANELS = (("accuracy", "Accuracy"), ("balanced_accuracy", "Balanced accuracy"), ("area", "Area under the ROC curve"))


def scores_figure(results: Results, comparison: str) -> Drawn | None:
    """Draw every model's scores with intervals, beside chance, the baselines and what permuted labels reach."""
    cells = [cell for cell in results.scored_models_of(comparison) if cell.model != "majority"]
    if not cells:
        return None
    indicators = list(dict.fromkeys(cell.indicator for cell in cells))
    cells = [cell for name in indicators for cell in cells if cell.indicator == name]
    chance = chance_level(results, comparison)
    levels = {"accuracy": chance.level, "balanced_accuracy": 1 / chance.classes, "area": 0.5}
    # A blank line before each indicator, for its name.
    places = np.array([row + 1 + indicators.index(cell.indicator) for row, cell in enumerate(cells)], dtype=float)
    figure = new_figure(1.1 + 0.23 * (len(cells) + len(indicators)))
    for axes, (metric, title) in zip(figure.subplots(1, 3, sharey=True), _PANELS, strict=True):
        axes.set_title(title if metric == "area" else f"{title} [%]", fontsize=9)
        axes.axvline(levels[metric], color=GREY, linestyle=(0, (4, 3)), linewidth=0.9)
        for cell, place in zip(cells, places, strict=True):
            _draw_score(axes, cell, metric, float(place))
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


def _draw_score(axes: Axes, cell: ScoredModel, metric: str, place: float) -> None:
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


def precision_figure(assessed: Sequence[AssessedResult]) -> Drawn | None:
    """Draw how the interval of an accuracy narrows with people, and where ours stand; None without results."""
    if not assessed:
        return None
    n = np.geomspace(10, 3000, 200)
    figure = new_figure(3.3)
    axes = figure.subplots()
    shares = ((0.5, BLUE), (0.75, GREEN), (0.9, ORANGE), (0.98, RED))
    for share, colour in shares:
        axes.plot(n, 100 * half_width(share, n), color=colour, label=f"accuracy {share:.0%}")
        axes.plot(people_needed(share, 0.05), 5, "o", color=colour, markersize=4)
    axes.axhline(5, color=GREY, linestyle=(0, (4, 3)), linewidth=0.9)
    for one in assessed:
        axes.axvline(one.cell.n, color=INK, linewidth=0.6, alpha=0.6)
    ours = sorted({one.cell.n for one in assessed})
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


def learning_figure(results: Results, comparison: str) -> Drawn | None:
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
    level = chance_level(results, comparison).level
    axes.axhline(100 * level, color=GREY, linestyle=(0, (4, 3)), linewidth=0.9)
    axes.set_ylim(0, 100)
    axes.set_xlabel("People trained on")
    axes.set_ylabel("Accuracy [%]")
    axes.legend(loc="lower right", fontsize=8)
    words = f"Learning curves of {results.title(comparison)}: accuracy of {'; '.join(said)}. Dashed: chance."
    return figure, words


def half_width(p: float, n: Array | float) -> Array:
    """Half the width of a 95 % interval of a share p seen in n people, z sqrt(p (1 - p) / n); Wald's approximation."""
    width: Array = Z * np.sqrt(p * (1 - p) / np.asarray(n, dtype=np.float64))
    return width


def people_needed(p: float, half: float) -> int:
    """People for a 95 % interval of plus or minus `half` around a share p: z^2 p (1 - p) / half^2, rounded up."""
    return int(np.ceil(Z**2 * p * (1 - p) / half**2 - 1e-9))


#: Figures of one comparison below its scores: name of the file, title, and what draws it.
_FIGURES: Sequence[tuple[str, str, Callable[[Results, str], Drawn | None]]] = (
    ("roc", "ROC curves with 95 % bands", roc_figure),
    ("confusion", "Confusion matrices", confusion_figure),
    ("calibration", "Calibration", calibration_figure),
    ("learning", "Learning curves", learning_figure),
)

#: Scores of the table with intervals.
_SCORES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision_macro": "Precision (macro)",
    "recall_macro": "Recall (macro)",
    "f1_macro": "F1 (macro)",
    "area": "AUC",
}


@dataclass(frozen=True)
class ComparisonResults:
    """What the section shows of one comparison."""

    title: str
    scores_figure: Picture | None
    scores: Table
    figures: Sequence[Picture]
    misclassified: Table | None
    about_misclassified: str


@dataclass(frozen=True)
class ResultsSection:
    """What the section shows; without comparisons there is no result."""

    paper_tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()
    comparisons: Sequence[ComparisonResults] = ()
    precision: Picture | None = None


def results_section(
    results: Results, assessed: Mapping[str, Sequence[AssessedResult]], gallery: Gallery
) -> ResultsSection:
    """Gather and draw the results of all comparisons."""
    if not results.scored_models:
        return ResultsSection()
    tables, notes = _paper_tables(results)
    comparisons = [_comparison(results, name, gallery) for name in results.comparisons]
    drawn = precision_figure([one for items in assessed.values() for one in items])
    precision = gallery.add_if_drawn(drawn, "precision", "People needed for an interval")
    return ResultsSection(tables, notes, published_problems(), comparisons, precision)


def _comparison(results: Results, name: str, gallery: Gallery) -> ComparisonResults:
    def keep(kind: str, title: str, drawn: Drawn | None) -> Picture | None:
        return gallery.add_if_drawn(drawn, f"{slug(name)}_{kind}", f"{title}: {results.title(name)}")

    scores = keep("scores", "Scores with 95 % intervals", scores_figure(results, name))
    pictures = [keep(kind, title, draw(results, name)) for kind, title, draw in _FIGURES]
    misclassified, summary = _misclassified(results, name)
    return ComparisonResults(
        title=results.title(name),
        scores_figure=scores,
        scores=Table(
            f"Scores of people, mean over trials (95 % interval): {results.title(name)}",
            ("Model and maps", "People", *_SCORES.values()),
            [
                [cell.name, cell.n, *(_score(cell, metric) for metric in _SCORES)]
                for cell in results.scored_models_of(name)
            ],
        ),
        figures=[picture for picture in pictures if picture is not None],
        misclassified=misclassified,
        about_misclassified=summary,
    )


def _paper_tables(results: Results) -> tuple[list[Table], tuple[str, ...]]:
    """Return tables laid out as the paper's, and the notes that they need."""
    tables = []
    notes: tuple[str, ...] = NOTES[:1]
    for number, what in ((2, "accuracy and F1 of every model"), (3, "three classes on RFCS")):
        frame = results.tables[f"table{number}.tsv"]
        if frame.empty:
            continue
        if "Comparison" in frame:
            titles = {name: results.title(name) for name in results.comparisons}
            frame = frame.assign(Comparison=frame["Comparison"].replace(titles))
        theirs = frame.filter(like=", paper").replace("n/a", "").any(axis=None)
        notes = NOTES if theirs else notes
        beside = ", its values beside ours" if theirs else ""
        tables.append(Table.of_frame(frame, f"Table {number}: {what}, laid out as in the paper{beside}"))
    return tables, notes


def _score(cell: ScoredModel, metric: str) -> str:
    score = cell.scores.get(cell.area if metric == "area" else metric)
    if score is None or np.isnan(score.value):
        return ""
    known = not np.isnan(score.low)
    if metric == "area":
        return f"{score.value:.2f}" + (f" ({score.low:.2f} to {score.high:.2f})" if known else "")
    return percent(score.value) + (f" ({interval(score.low, score.high)})" if known else "")


def _misclassified(results: Results, comparison: str) -> tuple[Table | None, str]:
    """List people by how often brain maps led to a wrong class, over all models, indicators and trials."""
    total: Counter[str] = Counter()
    taken: dict[str, Counter[str]] = {}
    truth: dict[str, str] = {}
    for cell in results.scored_models_of(comparison):
        unit = results.predictions_of(cell)
        if unit is None or cell.model in baselines():
            continue
        for subject, label, predicted in zip(unit.subject, unit.y, unit.predicted, strict=True):
            key = unit.subjects[subject]
            truth[key] = unit.classes[label]
            total[key] += 1
            if label != predicted:
                taken.setdefault(key, Counter())[unit.classes[predicted]] += 1
    if not taken:
        return None, ""
    wrong = {key: counts.total() for key, counts in taken.items()}
    keys = sorted(wrong, key=lambda one: (-wrong[one] / total[one], one))
    rows = [
        (
            key.rpartition("/")[2],
            key.rpartition("/")[0],
            truth[key],
            f"{wrong[key]} of {total[key]}",
            percent(wrong[key] / total[key]),
            taken[key].most_common(1)[0][0],
        )
        for key in keys
    ]
    table = Table(
        f"Misclassified people, over all models, indicators and trials: {results.title(comparison)}",
        ("Participant", "Dataset", "True class", "Wrong", "Share", "Mostly taken for"),
        rows,
        style="sortable",
        links=[results.participant_report(key) for key in keys],
    )
    always = sum(wrong[key] == total[key] for key in wrong)
    return table, f"Misclassified people: {len(wrong)} of {len(total)} at least once, {always} always"
