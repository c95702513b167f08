from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from migxai.config import Learning
from migxai.evaluation import learning_curve as learning_curves
from migxai.evaluation.learning_curve import learning_curve
from migxai.learning.crossval import run_fold
from migxai.learning.feature_store import ModelInputs
from migxai.learning.splits import make_folds

SETTINGS = Learning(bootstraps=100)


@pytest.fixture(autouse=True)
def two_sizes(monkeypatch):
    monkeypatch.setattr(learning_curves, "SHARES", (0.2, 1.0))


def make(effect, n=120, regions=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    table = rng.normal(size=(n, regions))
    table[:, :3] += effect * labels[:, None]
    inputs = ModelInputs(tuple(f"a/sub-{row:03d}" for row in range(n)), table, np.zeros((n, 1)), ("x",))
    folds, _ = make_folds(labels, ["a"] * n, cv="kfold", folds=4, trials=1, seed=0)
    return inputs, labels, folds


def trace(inputs, labels, folds, **changes):
    options = {"classes": ("A", "B"), "settings": SETTINGS, "seed": 1, "people": np.arange(len(labels)), **changes}
    return learning_curve("svm", inputs, labels, folds, **options)


def test_an_effect_is_learned_better_from_more_people_and_nothing_from_none():
    first, last = trace(*make(1.3))
    assert (first.n, last.n) == (18, 90)
    assert last.value > first.value + 0.05
    assert last.value > 0.7
    assert first.low < first.value < first.high
    assert all(0.25 < point.value < 0.75 for point in trace(*make(0.0)))


def test_the_last_point_is_the_cross_validation_itself():
    inputs, labels, folds = make(0.7)
    hits = [
        run_fold("svm", inputs, labels, fold, classes=("A", "B"), settings=SETTINGS, seed=1)
        .probabilities[:, 0]
        .argmax(1)
        == labels[fold.test]
        for fold in folds
    ]
    assert trace(inputs, labels, folds)[-1].value == pytest.approx(np.concatenate(hits).mean())


def test_the_same_seed_gives_the_same_curve_and_rows_may_be_of_a_larger_cohort():
    inputs, labels, folds = make(0.7)
    first = trace(inputs, labels, folds)
    moved = dataclasses.replace(
        inputs,
        subjects=("a/other", *inputs.subjects),
        regions=np.vstack([np.full((1, 60), 9.0), inputs.regions]),
        nuisance=np.zeros((121, 1)),
    )
    assert trace(moved, labels, folds, people=np.arange(1, 121)) == first


def test_small_classes_keep_two_people():
    inputs, labels, _ = make(1.0, n=16)
    folds, _ = make_folds(labels, ["a"] * 16, cv="kfold", folds=4, trials=1, seed=0)
    assert trace(inputs, labels, folds)[0].n == 4
