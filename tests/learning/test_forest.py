"""The random forest: arrays that predict what scikit-learn's forest does."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score

from migxai.config import Learning
from migxai.learning.tabular_classifiers import RandomForest
from tests.evaluation.tables import make_table, other_rows_changed


@pytest.mark.parametrize(("classes", "weights"), [(2, "balanced"), (3, "none")])
def test_equals_sklearn(classes, weights):
    inputs, labels = make_table(60, classes=classes)
    train, test = np.arange(45), np.arange(45, 60)
    made = RandomForest(Learning(class_weights=weights), n_classes=classes, seed=4).fit(inputs, train, labels[train])
    fill = SimpleImputer().fit(inputs.regions[train])
    forest = RandomForestClassifier(500, class_weight="balanced" if weights == "balanced" else None, random_state=4)
    forest.fit(fill.transform(inputs.regions[train]), labels[train])
    probabilities = made.predict(inputs, test)
    assert probabilities.shape == (15, 1, classes)
    expected = forest.predict_proba(fill.transform(inputs.regions[test]))
    np.testing.assert_allclose(probabilities[:, 0], expected, atol=1e-12)


def test_thresholds_in_double_precision_split_as_sklearn_does():
    # Values half a unit in the last place (of single precision) apart fall on either side as in the library.
    inputs, labels = make_table(40, effect=0, gaps=0)
    inputs.regions[:] = np.float32(1) + np.random.default_rng(1).integers(0, 6, inputs.regions.shape) * 6e-8
    made = RandomForest(Learning(), n_classes=2, seed=0).fit(inputs, np.arange(30), labels[:30])
    forest = RandomForestClassifier(500, class_weight="balanced", random_state=0).fit(inputs.regions[:30], labels[:30])
    np.testing.assert_allclose(
        made.predict(inputs, np.arange(40))[:, 0], forest.predict_proba(inputs.regions), atol=1e-12
    )


def test_learns_from_its_rows_alone_and_repeats_itself():
    inputs, labels = make_table(30)
    rows = np.arange(0, 30, 2)
    first = RandomForest(Learning(), n_classes=2, seed=1).fit(inputs, rows, labels[rows]).tensors()
    again = RandomForest(Learning(), n_classes=2, seed=1).fit(other_rows_changed(inputs, rows), rows, labels[rows])
    assert first.keys() == set(RandomForest.fitted)
    assert all(np.array_equal(first[name], again.tensors()[name]) for name in first)
    other = RandomForest(Learning(), n_classes=2, seed=2).fit(inputs, rows, labels[rows]).tensors()
    assert not np.array_equal(first["threshold"], other["threshold"])


def test_restored_from_its_arrays_and_finds_an_effect():
    inputs, labels = make_table(90, effect=5)
    made = RandomForest(Learning(), n_classes=2, seed=0).fit(inputs, np.arange(50), labels[:50])
    new = RandomForest(Learning(), n_classes=2, seed=5).restore(made.tensors())
    probabilities = new.predict(inputs, np.arange(50, 90))
    assert np.array_equal(probabilities, made.predict(inputs, np.arange(50, 90)))
    assert roc_auc_score(labels[50:], probabilities[:, 0, 1]) > 0.9


def test_absent_class_has_probability_zero():
    inputs, labels = make_table(30, classes=3)
    rows = np.flatnonzero(labels != 0)
    probabilities = RandomForest(Learning(), n_classes=3, seed=0).fit(inputs, rows, labels[rows]).predict(inputs, rows)
    assert (probabilities[..., 0] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1)
