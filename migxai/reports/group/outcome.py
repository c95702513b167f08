"""The results: tables beside the paper's, scores, curves, who was misclassified, and what the sample size can show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from migxai.audit.verdict import Judged
from migxai.evaluation.paper import NOTES, published_problems
from migxai.evaluation.results import Results, ScoredModel
from migxai.evaluation.wording import interval, percent, plural, slug
from migxai.learning.estimators import baselines
from migxai.reports.group.gallery import Drawn, Gallery
from migxai.reports.group.html import bullets, folded, frame_table, linked_table, paragraph, table
from migxai.reports.group.overview import learning_figure, precision_figure, scores_figure
from migxai.reports.group.plots import calibration_figure, confusion_figure, roc_figure

_READ = (
    "A score is of people, not of slices, unless it says so: each was predicted by a model that never saw them. "
    "Intervals resample people; they leave out how scores vary from one training set to the next."
)

#: Figures of one comparison: name of the file, title, and what draws it.
_FIGURES: Sequence[tuple[str, str, Callable[[Results, str], Drawn | None]]] = (
    ("scores", "Scores with 95 % intervals", scores_figure),
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


def outcome_section(results: Results, judged: dict[str, list[Judged]], gallery: Gallery) -> str:
    """Write the results of all comparisons."""
    if not results.scored_models:
        return paragraph("No predictions have been scored (group/metrics.tsv is absent): there is no result to show.")
    parts = [paragraph(_READ, "about"), _paper_tables(results)]
    for name in results.comparisons:
        parts.append(f"<h3>{escape(results.title(name), quote=False)}</h3>")
        for kind, title, draw in _FIGURES:
            found = draw(results, name)
            if found is not None:
                full = f"{title}: {results.title(name)}"
                parts.append(gallery.add(found[0], f"{slug(name)}_{kind}", title=full, words=found[1]))
            if kind == "scores":
                parts.append(_scores_table(results, name))
        parts.append(_misclassified(results, name))
    found = precision_figure([one for items in judged.values() for one in items])
    if found is not None:
        parts.append("<h3>How many people are needed</h3>")
        parts.append(gallery.add(found[0], "precision", title="People needed for an interval", words=found[1]))
    return "".join(parts)


def _paper_tables(results: Results) -> str:
    parts: list[str] = []
    notes: tuple[str, ...] = NOTES[:1]
    for number, what in ((2, "accuracy and F1 of every model"), (3, "three classes on RFCS")):
        frame = results.tables[f"table{number}.tsv"]
        if not frame.empty:
            if "Comparison" in frame:
                titles = {name: results.title(name) for name in results.comparisons}
                frame = frame.assign(Comparison=frame["Comparison"].replace(titles))
            theirs = frame.filter(like=", paper").replace("n/a", "").any(axis=None)
            notes = NOTES if theirs else notes
            beside = ", its values beside ours" if theirs else ""
            parts.append(frame_table(frame, caption=f"Table {number}: {what}, laid out as in the paper{beside}"))
    problems = published_problems()
    content = bullets(problems)
    parts.append(bullets(notes))
    parts.append(
        folded(f"What cannot be right in the paper's own numbers ({plural(len(problems), 'finding')})", content)
    )
    return "".join(parts)


def _scores_table(results: Results, comparison: str) -> str:
    rows = []
    for cell in results.scored_models_of(comparison):
        rows.append([cell.name, cell.n, *(_score(cell, metric) for metric in _SCORES)])
    heads = ["Model and maps", "People", *_SCORES.values()]
    caption = f"Scores of people, mean over trials (95 % interval): {results.title(comparison)}"
    return folded("The same as numbers", table(rows, heads, caption=caption))


def _score(cell: ScoredModel, metric: str) -> str:
    score = cell.scores.get(cell.area if metric == "area" else metric)
    if score is None or np.isnan(score.value):
        return ""
    known = not np.isnan(score.low)
    if metric == "area":
        return f"{score.value:.2f}" + (f" ({score.low:.2f} to {score.high:.2f})" if known else "")
    return percent(score.value) + (f" ({interval(score.low, score.high)})" if known else "")


def _misclassified(results: Results, comparison: str) -> str:
    """List people by how often brain maps led to a wrong class, over all models, indicators and trials."""
    wrong: Counter[str] = Counter()
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
                wrong[key] += 1
                taken.setdefault(key, Counter())[unit.classes[predicted]] += 1
    if not wrong:
        return ""
    rows = []
    for key in sorted(wrong, key=lambda one: (-wrong[one] / total[one], one)):
        address, name = results.participant_report(key), escape(key.rpartition("/")[2], quote=False)
        first = f'<a href="{escape(address)}">{name}</a>' if address else name
        share = f"{wrong[key]} of {total[key]}"
        rows.append(
            [first, key.rpartition("/")[0], truth[key], share, percent(wrong[key] / total[key]), _first(taken[key])]
        )
    heads = ["Participant", "Dataset", "True class", "Wrong", "Share", "Mostly taken for"]
    always = sum(wrong[key] == total[key] for key in wrong)
    caption = f"Misclassified people, over all models, indicators and trials: {results.title(comparison)}"
    summary = f"Misclassified people: {len(wrong)} of {len(total)} at least once, {always} always"
    return folded(summary, linked_table(rows, heads, caption=caption))


def _first(counts: Counter[str]) -> str:
    return counts.most_common(1)[0][0]
