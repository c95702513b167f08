"""What the pictures of scores say: the words beside them, and what is drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from migxai.audit.verdict import judge
from migxai.evaluation.results import read_results
from migxai.io import write_tsv
from migxai.reports.figures.drawing import drawing_style
from migxai.reports.group.overview import flow_figure, learning_figure, precision_figure, reasons, scores_figure
from migxai.reports.group.plots import calibration_figure, confusion_figure, roc_figure
from tests.reports.group.building import COMPARISON


@pytest.fixture(autouse=True)
def style():
    with drawing_style():
        yield


def accuracy(results, model):
    return next(cell for cell in results.scored_models if cell.model == model).scores["accuracy"].value


def test_a_panel_for_every_model_but_the_majority(results):
    for draw in (roc_figure, calibration_figure, confusion_figure):
        figure, words = draw(results, COMPARISON)
        assert [axes.get_title() or axes.get_title("left") for axes in figure.axes] == [
            "GoogLeNet",
            "SVM",
            "Nuisance only",
        ]
        assert "HC versus migraine" in words


def test_the_confusion_matrix_counts_people(results):
    figure, words = confusion_figure(results, COMPARISON)
    image = np.asarray(figure.axes[1].images[0].get_array())
    np.testing.assert_allclose(image.sum(axis=1), 1)
    assert np.diag(image).mean() == pytest.approx(accuracy(results, "svm"))
    counts = [float(text.get_text().split("\n")[1]) for text in figure.axes[1].texts]
    assert sum(counts) == 24
    assert f"HC {image[0, 0]:.0%}" in words


def test_scores_are_drawn_where_they_are(results):
    figure, words = scores_figure(results, COMPARISON)
    dots = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert dots == [accuracy(results, name) for name in ("googlenet", "svm", "nuisance")]
    assert figure.axes[0].lines[0].get_xdata()[0] == 0.5
    assert "always naming HC" in words


def test_nothing_is_drawn_of_nothing(results):
    empty = dataclasses.replace(
        results, units=(), tables={name: table.iloc[:0] for name, table in results.tables.items()}
    )
    for draw in (roc_figure, calibration_figure, confusion_figure, scores_figure, learning_figure):
        assert draw(empty, COMPARISON) is None
    assert precision_figure([]) is None


def test_the_flow_counts_people_and_their_reasons(results):
    figure, words = flow_figure(results)
    assert "25 found, 1 left out (1: the head moved by 2.6 mm & more), 24 in the analysis" in words
    drawn = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "25 people in 1 dataset" in drawn
    assert "24: 12 HC, 12 Migraine" in drawn


def test_reasons_that_differ_in_numbers_are_one(results):
    rows = [("no", "moved by 2.6 mm"), ("no", "no map"), ("no", "moved by 10 mm"), ("yes", "n/a")]
    people = pd.DataFrame(rows, columns=["included", "reason"]).assign(dataset="a", participant_id="b")
    changed = dataclasses.replace(results, tables={**results.tables, "cohort.tsv": people})
    assert reasons(changed) == [("moved by 2.6 to 10 mm", 2), ("no map", 1)]


def test_people_needed_are_named(results):
    _, words = precision_figure(judge(results, COMPARISON))
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
