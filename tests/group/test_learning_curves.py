from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from migxai.config import Config, Learning
from migxai.evaluation import learning_curve
from migxai.group import learning_curves
from migxai.group.fit import Unit
from tests.group.cohorts import make_task

TASK = make_task("mwoa_vs_mwa")
CONFIG = Config(learning=Learning(models=("svm",), folds=2, trials=2, bootstraps=20))


@pytest.fixture
def plan(monkeypatch):
    count = int(TASK.people.max()) + 1
    people = pd.DataFrame({"key": [f"a/sub-{row:02d}" for row in range(count)]})
    monkeypatch.setattr(learning_curves, "nuisance_table", lambda table: (np.zeros((len(table), 1)), ["age"]))
    monkeypatch.setattr(learning_curve, "SHARES", (1.0,))
    maps = {"reho": SimpleNamespace(regions=np.random.default_rng(0).normal(size=(count, 6)))}
    return SimpleNamespace(roster=SimpleNamespace(people=people), maps=maps)


def make_unit(model="svm", trial=1):
    folds = tuple(fold for fold in TASK.folds if fold.trial == trial)
    people, labels = tuple(TASK.people.tolist()), tuple(TASK.labels.tolist())
    return Unit(model, "reho", TASK.comparison.name, TASK.comparison.labels, people, labels, folds)


def predictions(*models):
    return pd.DataFrame({"comparison": TASK.comparison.name, "indicator": "reho", "model": list(models)})


def test_a_curve_of_the_first_trial_of_fast_models(plan):
    units = [make_unit(), make_unit(trial=2), make_unit("rf"), dataclasses.replace(make_unit(), folds=None)]
    table = learning_curves.learning_curve_table(plan, units, CONFIG, predictions("svm", "rf"))
    assert list(table.columns) == ["comparison", "indicator", "model", "n", "value", "low", "high"]
    assert table[["comparison", "model"]].drop_duplicates().to_numpy().tolist() == [[TASK.comparison.name, "svm"]]
    assert table["n"].tolist() == [np.mean([len(fold.train) for fold in units[0].folds])]


def test_no_curve_of_what_failed_or_has_too_many_folds(plan, monkeypatch):
    assert learning_curves.learning_curve_table(plan, [make_unit()], CONFIG, predictions("rf")).empty
    monkeypatch.setattr(learning_curves, "MOST_FOLDS", 1)
    assert learning_curves.learning_curve_table(plan, [make_unit()], CONFIG, predictions("svm")).empty
