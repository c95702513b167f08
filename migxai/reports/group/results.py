"""The results: tables beside the paper's, scores, curves, who was misclassified, and what the sample size can show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from migxai.audit.verdict import AssessedResult
from migxai.evaluation.paper import NOTES, published_problems
from migxai.evaluation.results import Results, ScoredModel
from migxai.evaluation.wording import interval, percent, slug
from migxai.learning.estimators import baselines
from migxai.reports.group.gallery import Drawn, Gallery, Picture
from migxai.reports.group.prediction_figures import calibration_figure, confusion_figure, roc_figure
from migxai.reports.group.score_figures import learning_figure, precision_figure, scores_figure
from migxai.reports.rendering import Table

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
