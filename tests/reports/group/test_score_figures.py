"""What the pictures of scores say: the words beside them, and what is drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from migxai.audit.verdict import assess_results
from migxai.evaluation.results import read_results
from migxai.io import write_tsv
from migxai.reports.figures.drawing import drawing_style
from migxai.reports.group.score_figures import (
    half_width,
    learning_figure,
    people_needed,
    precision_figure,
    scores_figure,
)
from tests.reports.group.building import COMPARISON


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
