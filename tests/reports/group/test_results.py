"""The section of results, and what its pictures of scores say."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

from migxai.audit.headline import assess_results
from migxai.evaluation.paper import published_problems
from migxai.evaluation.results import read_results
from migxai.io import write_tsv
from migxai.learning.estimators import baselines
from migxai.reports.figures.drawing import drawing_style
from migxai.reports.group.gallery import Gallery
from migxai.reports.group.results import (
    half_width,
    learning_figure,
    people_needed,
    precision_figure,
    results_section,
    scores_figure,
)
from migxai.reports.rendering import render
from tests.reports.group.building import COMPARISON


@pytest.fixture(scope="module")
def section(results, tmp_path_factory):
    gallery = Gallery(tmp_path_factory.mktemp("figures"))
    with drawing_style():
        section = results_section(results, {COMPARISON: assess_results(results, COMPARISON)}, gallery)
    text = render("group/results.html.jinja", results=section)
    return text.replace("\N{NO-BREAK SPACE}", " "), gallery


def test_every_figure_of_a_comparison_is_there(section):
    kinds = ("scores", "roc", "confusion", "calibration")
    assert section[1].names == [*(f"hc-vs-migraine_{kind}" for kind in kinds), "precision"]
    assert section[0].count("<img") == 5


def test_the_papers_values_and_what_is_wrong_with_them_stand_beside_ours(section):
    text = section[0]
    assert "94.79 (1.29)" in text
    assert "its values beside ours" in text
    problems = published_problems()
    assert f"({len(problems)} findings)" in text
    assert text.count("Table 3, GoogLeNet, if averages are") == sum("GoogLeNet" in one for one in problems) > 0


def test_scores_are_there_as_numbers(section, results):
    cell = next(cell for cell in results.scored_models if cell.model == "svm")
    score = cell.scores["accuracy"]
    assert f"{100 * score.value:.1f} % ({100 * score.low:.1f} to {100 * score.high:.1f} %)" in section[0]
    assert f"{cell.scores['roc_auc'].value:.2f} (" in section[0]


def test_misclassified_people_are_counted_over_all_maps(section, results):
    wrong: dict[str, list[bool]] = {}
    for cell in results.scored_models:
        if cell.model not in baselines():
            unit = results.predictions_of(cell)
            for subject, bad in zip(unit.subject, unit.y != unit.predicted, strict=True):
                wrong.setdefault(unit.subjects[subject], []).append(bad)
    once = sum(any(found) for found in wrong.values())
    always = sum(all(found) for found in wrong.values())
    assert f"Misclassified people: {once} of 24 at least once, {always} always" in section[0]
    rows = re.findall(r'<th scope="row">(sub-\d+)</th><td>site A</td><td>\w+</td><td>(\d+) of (\d+)<', section[0])
    assert {name: int(count) for name, count, _ in rows} == {
        key.split("/")[1]: int(np.sum(found)) for key, found in wrong.items() if any(found)
    }
    assert {total for *_, total in rows} == {"4"}


def test_without_scores_that_is_said(results, tmp_path):
    empty = dataclasses.replace(results, tables={name: table.iloc[:0] for name, table in results.tables.items()})
    section = results_section(empty, {COMPARISON: []}, Gallery(tmp_path))
    assert "there is no result to show" in render("group/results.html.jinja", results=section)


@pytest.fixture(autouse=True)
def style():
    with drawing_style():
        yield


def accuracy(results, model):
    return next(cell for cell in results.scored_models if cell.model == model).scores["accuracy"].value


def test_scores_are_drawn_where_they_are(results):
    figure, words = scores_figure(results, COMPARISON)
    dots = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert dots == [accuracy(results, name) for name in ("googlenet", "svm", "nuisance")]
    assert figure.axes[0].lines[0].get_xdata()[0] == 0.5
    assert "always naming HC" in words


def test_people_needed_are_named(results):
    _, words = precision_figure(assess_results(results, COMPARISON))
    assert "385 at an accuracy of 50%" in words
    assert "this run has 24 people" in words


def test_learning_curves_come_from_their_table(folder):
    assert learning_figure(read_results(folder), COMPARISON) is None
    points = [(10, 0.5, 0.4, 0.6), (20, 0.7, 0.6, 0.8)]
    table = pd.DataFrame(points, columns=["n", "value", "low", "high"])
    write_tsv(folder.file("learning_curve.tsv"), table.assign(comparison=COMPARISON, indicator="reho", model="svm"))
    figure, words = learning_figure(read_results(folder), COMPARISON)
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [50, 70])
    assert "from 50.0 % with 10 to 70.0 % with 20" in words.replace("\N{NO-BREAK SPACE}", " ")


def test_nothing_is_drawn_without_scores(results):
    empty = dataclasses.replace(
        results, predictions=(), tables={name: table.iloc[:0] for name, table in results.tables.items()}
    )
    for draw in (scores_figure, learning_figure):
        assert draw(empty, COMPARISON) is None
    assert precision_figure([]) is None


def test_people_needed():
    assert people_needed(0.5, 0.05) == 385
    assert half_width(0.5, 385) <= 0.05 < half_width(0.5, 384)
