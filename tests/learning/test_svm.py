"""The linear SVM: against scikit-learn's own chain, and what its probabilities may never do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from migxai.config import Learning
from migxai.errors import InputError
from migxai.learning.tabular_classifiers import LinearSVM, balanced, sigmoid
from tests.evaluation.tables import make_table, other_rows_changed

PLAIN = Learning(class_weights="none")


def reference(machine):
    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), machine)


@pytest.mark.parametrize("classes", [2, 3])
def test_equals_sklearn_pipeline_with_platt_scaling(classes):
    inputs, labels = make_table(60, classes=classes, effect=3)
    train, test = np.arange(45), np.arange(45, 60)
    made = LinearSVM(PLAIN, n_classes=classes, seed=3).fit(inputs, train, labels[train])
    machine = SVC(kernel="linear") if classes == 2 else OneVsRestClassifier(SVC(kernel="linear"))
    folds = StratifiedKFold(5, shuffle=True, random_state=3)
    expected = CalibratedClassifierCV(reference(machine), cv=folds, ensemble=False)
    expected.fit(inputs.regions[train], labels[train])
    assert made.tensors()["slope"].min() > 0.1, "the bound must not bind for the two to be equal"
    ours = made.predict(inputs, test)
    assert ours.shape == (15, 1, classes)
    np.testing.assert_allclose(ours[:, 0], expected.predict_proba(inputs.regions[test]), atol=2e-4)


def test_class_weights_reach_the_machine():
    inputs, labels = make_table(60, effect=1)
    rows = np.flatnonzero((labels == 0) | (np.arange(60) < 20))
    made = LinearSVM(Learning(), n_classes=2, seed=0).fit(inputs, rows, labels[rows])
    chain = reference(SVC(kernel="linear", class_weight="balanced")).fit(inputs.regions[rows], labels[rows])
    np.testing.assert_allclose(made.tensors()["coef"], chain[-1].coef_, atol=1e-9)
    np.testing.assert_allclose(made.tensors()["intercept"], chain[-1].intercept_, atol=1e-9)
    plain = LinearSVM(PLAIN, n_classes=2, seed=0).fit(inputs, rows, labels[rows])
    assert made.predict(inputs, rows)[..., 1].mean() > plain.predict(inputs, rows)[..., 1].mean()


def test_weights_of_equal_sum():
    weights = balanced(np.array([True, False, False, False]))
    np.testing.assert_allclose(weights, [2, 2 / 3, 2 / 3, 2 / 3])


def test_sigmoid_finds_platts_maximum():
    # With Platt's targets, the fit of values that say nothing is the (corrected) share of the positives.
    rng = np.random.default_rng(0)
    f = np.tile([-1.0, 1.0], 30)
    positive = np.repeat([True, True, False], 20)
    slope, offset = sigmoid(f, positive, np.ones(60))
    assert slope == pytest.approx(0.1)
    assert expit(offset) == pytest.approx((41 * 40 / 42 + 20 / 22) / 60, abs=2e-3)
    # And a known curve is found again.
    f = rng.normal(0, 2, 20000)
    slope, offset = sigmoid(f, rng.random(20000) < expit(1.3 * f - 0.4), np.ones(20000))
    assert (slope, offset) == (pytest.approx(1.3, abs=0.06), pytest.approx(-0.4, abs=0.06))


@pytest.mark.parametrize("seed", range(8))
def test_probabilities_keep_the_machines_order_without_any_effect(seed):
    inputs, labels = make_table(40, effect=0, seed=seed)
    train, test = np.arange(30), np.arange(30, 40)
    made = LinearSVM(Learning(), n_classes=2, seed=seed).fit(inputs, train, labels[train])
    chain = reference(SVC(kernel="linear", class_weight="balanced")).fit(inputs.regions[train], labels[train])
    decisions = chain.decision_function(inputs.regions[test])
    assert (np.argsort(made.predict(inputs, test)[:, 0, 1]) == np.argsort(decisions)).all()
    assert roc_auc_score(labels[test], made.predict(inputs, test)[:, 0, 1]) == roc_auc_score(labels[test], decisions)


def test_finds_an_effect_in_new_subjects():
    inputs, labels = make_table(120, effect=5)
    train, test = np.arange(80), np.arange(80, 120)
    made = LinearSVM(Learning(), n_classes=2, seed=0).fit(inputs, train, labels[train])
    assert roc_auc_score(labels[test], made.predict(inputs, test)[:, 0, 1]) > 0.9


def test_fixed_sigmoid_where_a_class_has_one_subject():
    inputs, labels = make_table(20)
    rows = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:1]])
    fitted = LinearSVM(Learning(), n_classes=2, seed=0).fit(inputs, rows, labels[rows]).tensors()
    assert fitted["slope"].tolist() == [1.0]
    assert fitted["offset"].tolist() == [0.0]


@pytest.mark.parametrize("classes", [2, 3])
def test_learns_from_its_rows_alone(classes):
    inputs, labels = make_table(45, classes=classes)
    rows = np.arange(0, 45, 2)
    first = LinearSVM(Learning(), n_classes=classes, seed=1).fit(inputs, rows, labels[rows]).tensors()
    changed = other_rows_changed(inputs, rows)
    again = LinearSVM(Learning(), n_classes=classes, seed=1).fit(changed, rows, labels[rows]).tensors()
    assert first.keys() == again.keys() == set(LinearSVM.fitted)
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_restored_from_its_arrays():
    inputs, labels = make_table(40, classes=3)
    made = LinearSVM(Learning(), n_classes=3, seed=0).fit(inputs, np.arange(30), labels[:30])
    new = LinearSVM(Learning(), n_classes=3, seed=5).restore(made.tensors())
    assert np.array_equal(new.predict(inputs, np.arange(40)), made.predict(inputs, np.arange(40)))
    with pytest.raises(InputError, match="'slope'"):
        new.restore({name: values for name, values in made.tensors().items() if name != "slope"})


def test_absent_class_has_probability_zero():
    inputs, labels = make_table(40, classes=3)
    rows = np.flatnonzero(labels != 1)
    probabilities = LinearSVM(Learning(), n_classes=3, seed=0).fit(inputs, rows, labels[rows]).predict(inputs, rows)
    assert (probabilities[..., 1] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1)


def test_region_that_nobody_covers_changes_nothing():
    inputs, labels = make_table(40)
    empty = dataclasses.replace(inputs, regions=np.concatenate([inputs.regions, np.full((40, 1), np.nan)], axis=1))
    train, test = np.arange(30), np.arange(30, 40)
    first = LinearSVM(Learning(), n_classes=2, seed=0).fit(inputs, train, labels[train]).predict(inputs, test)
    empty.regions[test, -1] = 7.0
    second = LinearSVM(Learning(), n_classes=2, seed=0).fit(empty, train, labels[train]).predict(empty, test)
    np.testing.assert_allclose(first, second, atol=1e-12)


def test_refuses_one_class_and_infinite_numbers():
    inputs, labels = make_table(20)
    rows = np.flatnonzero(labels == 0)
    with pytest.raises(InputError, match="one class"):
        LinearSVM(Learning(), n_classes=2, seed=0).fit(inputs, rows, labels[rows])
    inputs.regions[3, 1] = np.inf
    with pytest.raises(InputError, match="made/sub-04 holds an infinite"):
        LinearSVM(Learning(), n_classes=2, seed=0).fit(inputs, np.arange(20), labels)
    made = LinearSVM(Learning(), n_classes=2, seed=0).fit(inputs, np.arange(4, 20), labels[4:])
    with pytest.raises(InputError, match="made/sub-04 holds an infinite"):
        made.predict(inputs, np.arange(4))
