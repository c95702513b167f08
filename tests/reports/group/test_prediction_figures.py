"""ROC curves, calibration and confusion matrices: what is drawn, and the words beside it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from migxai.evaluation.predictions import PredictionKey, PredictionSet
from migxai.reports.figures.drawing import drawing_style
from migxai.reports.group.prediction_figures import (
    calibration_band,
    calibration_figure,
    confusion_figure,
    roc_band,
    roc_figure,
)
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


def test_nothing_is_drawn_of_nothing(results):
    empty = dataclasses.replace(
        results, predictions=(), tables={name: table.iloc[:0] for name, table in results.tables.items()}
    )
    for draw in (roc_figure, calibration_figure, confusion_figure):
        assert draw(empty, COMPARISON) is None


def make_unit(y, p, trials=1):
    n = len(y)
    return PredictionSet(
        key=PredictionKey("c", "i", "m", "subject"),
        classes=("A", "B"),
        y=np.tile(y, trials),
        predicted=np.tile((np.asarray(p) > 0.5).astype(int), trials),
        p=np.tile(np.column_stack([1 - np.asarray(p), p]), (trials, 1)),
        trial=np.repeat(np.arange(trials), n),
        fold=np.zeros(n * trials, dtype=int),
        subject=np.tile(np.arange(n), trials),
        trials=tuple(map(str, range(trials))),
        folds=("1",),
        subjects=tuple(map(str, range(n))),
    )


@pytest.mark.parametrize("digits", [1, 8])
def test_the_area_under_the_curve_is_that_of_the_ranks_ties_included(digits):
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    p = np.round(1 / (1 + np.exp(-(y + rng.normal(size=200)))), digits)
    band = roc_band(make_unit(y, p, trials=2), 1, seed=0, resamples=200)
    # The grid of 101 rates cuts corners of 100 steps.
    assert np.trapezoid(band.middle, band.x) == pytest.approx(roc_auc_score(y, p), abs=0.006)
    assert ((band.low <= band.middle + 1e-9) & (band.middle <= band.high + 1e-9)).mean() > 0.97
    assert (band.high - band.low).max() < 0.4


def test_more_people_make_a_narrower_band():
    rng = np.random.default_rng(1)
    widths = []
    for n in (20, 500):
        y = np.arange(n) % 2
        p = 1 / (1 + np.exp(-(y + rng.normal(size=n))))
        band = roc_band(make_unit(y, p), 1, seed=0, resamples=200)
        widths.append((band.high - band.low).mean())
    assert widths[1] < widths[0] / 2


def test_one_class_has_no_curve():
    assert roc_band(make_unit(np.ones(4, dtype=int), np.full(4, 0.5)), 1, seed=0, resamples=5) is None


def test_honest_probabilities_lie_on_the_diagonal():
    rng = np.random.default_rng(2)
    p = rng.uniform(size=4000)
    y = (rng.uniform(size=4000) < p).astype(int)
    band = calibration_band(make_unit(y, p), 1, seed=0, resamples=200)
    np.testing.assert_allclose(band.middle, band.x, atol=0.04)
    np.testing.assert_allclose(band.x, [0.1, 0.3, 0.5, 0.7, 0.9], atol=0.02)
    assert ((band.low < band.middle) & (band.middle < band.high)).all()


def test_bins_with_nobody_are_left_out_and_those_with_one_have_no_bar():
    band = calibration_band(
        make_unit(np.array([0, 1, 0, 1, 1]), [0.1, 0.15, 0.1, 0.19, 0.95]), 1, seed=0, resamples=300
    )
    assert len(band.x) == 2
    assert np.isnan(band.low[1])
