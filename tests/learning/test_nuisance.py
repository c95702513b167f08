"""The baseline that reads the nuisance table alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from migxai.config import Learning
from migxai.learning.tabular_classifiers import NuisanceOnly
from tests.evaluation.tables import make_table, other_rows_changed


@pytest.mark.parametrize(("classes", "weights"), [(2, "balanced"), (2, "none"), (3, "balanced")])
def test_equals_sklearn(classes, weights):
    inputs, labels = make_table(60, classes=classes)
    train, test = np.arange(45), np.arange(45, 60)
    made = NuisanceOnly(Learning(class_weights=weights), n_classes=classes, seed=0).fit(inputs, train, labels[train])
    chain = make_pipeline(
        SimpleImputer(),
        StandardScaler(),
        LogisticRegression(class_weight="balanced" if weights == "balanced" else None, tol=1e-8),
    ).fit(inputs.nuisance[train], labels[train])
    probabilities = made.predict(inputs, test)
    assert probabilities.shape == (15, 1, classes)
    np.testing.assert_allclose(probabilities[:, 0], chain.predict_proba(inputs.nuisance[test]), atol=1e-6)


def test_reads_nothing_but_the_nuisance_table():
    inputs, labels = make_table(60)
    blind = dataclasses.replace(inputs, regions=np.full_like(inputs.regions, np.nan))
    first, second = (
        NuisanceOnly(Learning(), n_classes=2, seed=0).fit(i, np.arange(60), labels) for i in (inputs, blind)
    )
    assert np.array_equal(first.predict(inputs, np.arange(60)), second.predict(blind, np.arange(60)))
    assert roc_auc_score(labels, first.predict(inputs, np.arange(60))[:, 0, 1]) > 0.7


def test_column_constant_in_training_is_dropped_whatever_it_is_in_the_test():
    inputs, labels = make_table(40)
    train, test = np.arange(30), np.arange(30, 40)
    made = NuisanceOnly(Learning(), n_classes=2, seed=0).fit(inputs, train, labels[train])
    assert made.tensors()["scale"][2] == 0
    before = made.predict(inputs, test)
    inputs.nuisance[test, 2] = 500.0
    assert np.array_equal(made.predict(inputs, test), before)


@pytest.mark.parametrize("columns", [0, 1])
def test_without_a_column_that_varies_only_the_class_shares_are_left(columns):
    inputs, labels = make_table(40, classes=3)
    same = dataclasses.replace(inputs, nuisance=np.ones((40, columns)), nuisance_names=("site",)[:columns])
    rows = np.flatnonzero((labels != 2) | (np.arange(40) < 20))
    made = NuisanceOnly(Learning(class_weights="none"), n_classes=3, seed=0).fit(same, rows, labels[rows])
    shares = np.bincount(labels[rows]) / len(rows)
    np.testing.assert_allclose(made.predict(same, rows)[:, 0], np.tile(shares, (len(rows), 1)), atol=1e-3)


def test_learns_from_its_rows_alone():
    inputs, labels = make_table(40, classes=3)
    rows = np.arange(0, 40, 2)
    first = NuisanceOnly(Learning(), n_classes=3, seed=0).fit(inputs, rows, labels[rows]).tensors()
    again = NuisanceOnly(Learning(), n_classes=3, seed=0).fit(other_rows_changed(inputs, rows), rows, labels[rows])
    assert first.keys() == set(NuisanceOnly.fitted)
    assert all(np.array_equal(first[name], again.tensors()[name]) for name in first)


def test_restored_from_its_arrays_with_a_class_absent():
    inputs, labels = make_table(40, classes=3)
    rows = np.flatnonzero(labels != 1)
    made = NuisanceOnly(Learning(), n_classes=3, seed=0).fit(inputs, rows, labels[rows])
    new = NuisanceOnly(Learning(), n_classes=3, seed=0).restore(made.tensors())
    assert np.array_equal(new.predict(inputs, rows), made.predict(inputs, rows))
    assert (new.predict(inputs, rows)[..., 1] == 0).all()
