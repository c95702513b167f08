"""Models by name, what naming them must not import, and the classifiers of tables against scikit-learn's."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from migxai.config import Learning
from migxai.errors import InputError, UsageError
from migxai.learning.estimators import ESTIMATORS, check_models, is_deep, make_estimator, options_of, tables_of
from migxai.learning.estimators.majority import Majority
from migxai.learning.estimators.nuisance import NuisanceOnly
from migxai.learning.estimators.rf import RandomForest
from migxai.learning.estimators.svm import LinearSVM, balanced, sigmoid
from migxai.learning.estimators.table import column_means, column_scales, standardised
from tests.evaluation.tables import make_table, other_rows_changed

# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_every_entry_makes_an_estimator(name):
    made = make_estimator(name, Learning(), n_classes=3, seed=5)
    assert (made.level, made.n_classes, made.seed) == ("subject", 3, 5)
    assert all(hasattr(Learning(), option) for option in options_of(name))
    assert not is_deep(name)
    assert tables_of(name) == made.reads


def test_networks_fall_through():
    for name in ("googlenet", "resnet18", "vit_b_16", "timm:resnet10t"):
        assert is_deep(name)
        assert tables_of(name) == ()
        assert all(hasattr(Learning(), option) for option in options_of(name))
    assert make_estimator("resnet18", Learning(), n_classes=2, seed=0).level == "slice"


def test_names_are_checked_and_each_kept_once():
    assert check_models(["svm", "googlenet", "svm", "timm:resnet10t"]) == ("svm", "googlenet", "timm:resnet10t")
    with pytest.raises(UsageError, match=r"no model 'resnet'; there are .*googlenet, .*svm.* Did you mean resnet18\?"):
        check_models(["svm", "resnet"])
    with pytest.raises(UsageError, match="timm:NAME"):
        make_estimator("timm:", Learning(), n_classes=2, seed=0)
    with pytest.raises(UsageError, match="at least one"):
        check_models([])


def test_checking_names_imports_nothing_heavy():
    code = (
        "import sys; import migxai.learning; from migxai.learning.estimators import check_models;"
        "check_models(['svm', 'vit_b_16']);"
        "heavy = ('numpy', 'torch', 'sklearn', 'pandas', 'safetensors', 'nibabel');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- columns --------------------------------------------------------------------------------------------------------

# Three decimals: what differs does so by more than rounding.
NUMBERS = st.one_of(st.just(np.nan), st.integers(-(10**6), 10**6).map(lambda number: number / 1000))


@settings(deadline=None, max_examples=150)
@given(arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 5)), elements=NUMBERS), st.integers(1, 6))
def test_equals_sklearns_imputer_and_scaler(values, more):
    mean = column_means(values)
    scale = column_scales(values, mean)
    new = np.random.default_rng(more).normal(size=(more, values.shape[1]))
    new[0, 0] = np.nan
    chain = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()).fit(values)
    varies = scale > 0
    assert varies.tolist() == [len(np.unique(column[~np.isnan(column)])) > 1 for column in values.T]
    np.testing.assert_allclose(standardised(new, mean, scale)[:, varies], chain.transform(new)[:, varies], 1e-9, 1e-9)
    assert (standardised(new, mean, scale)[:, ~varies] == 0).all()
    assert np.isfinite(standardised(new, mean, scale)).all()


# --- majority ------------------------------------------------------------------------------------------------------


def test_majority_equals_sklearns_prior():
    inputs, labels = make_table(41, classes=3)
    rows = np.arange(20)
    made = Majority(Learning(), n_classes=3, seed=0).fit(inputs, rows, labels[rows])
    expected = DummyClassifier(strategy="prior").fit(inputs.regions[rows], labels[rows])
    probabilities = made.predict(inputs, np.arange(20, 41))
    assert probabilities.shape == (21, 1, 3)
    np.testing.assert_allclose(probabilities[:, 0], expected.predict_proba(inputs.regions[20:]))


def test_majority_counts_its_rows_alone_and_knows_of_absent_classes():
    inputs, labels = make_table(40, classes=3)
    rows = np.flatnonzero(labels != 2)
    made = Majority(Learning(), n_classes=3, seed=0).fit(inputs, rows, labels[rows])
    again = Majority(Learning(), n_classes=3, seed=0).fit(other_rows_changed(inputs, rows), rows, labels[rows])
    assert np.array_equal(made.tensors()["frequencies"], again.tensors()["frequencies"])
    assert made.tensors()["frequencies"][2] == 0
    new = Majority(Learning(), n_classes=3, seed=0).restore(made.tensors())
    assert np.array_equal(new.predict(inputs, rows), made.predict(inputs, rows))


# --- nuisance ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "weights"), [(2, "balanced"), (2, "none"), (3, "balanced")])
def test_nuisance_equals_sklearn(classes, weights):
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


def test_nuisance_reads_nothing_but_the_nuisance_table():
    inputs, labels = make_table(60)
    blind = dataclasses.replace(inputs, regions=np.full_like(inputs.regions, np.nan))
    first, second = (
        NuisanceOnly(Learning(), n_classes=2, seed=0).fit(i, np.arange(60), labels) for i in (inputs, blind)
    )
    assert np.array_equal(first.predict(inputs, np.arange(60)), second.predict(blind, np.arange(60)))
    assert roc_auc_score(labels, first.predict(inputs, np.arange(60))[:, 0, 1]) > 0.7


def test_nuisance_column_constant_in_training_is_dropped_whatever_it_is_in_the_test():
    inputs, labels = make_table(40)
    train, test = np.arange(30), np.arange(30, 40)
    made = NuisanceOnly(Learning(), n_classes=2, seed=0).fit(inputs, train, labels[train])
    assert made.tensors()["scale"][2] == 0
    before = made.predict(inputs, test)
    inputs.nuisance[test, 2] = 500.0
    assert np.array_equal(made.predict(inputs, test), before)


@pytest.mark.parametrize("columns", [0, 1])
def test_nuisance_without_a_column_that_varies_only_the_class_shares_are_left(columns):
    inputs, labels = make_table(40, classes=3)
    same = dataclasses.replace(inputs, nuisance=np.ones((40, columns)), nuisance_names=("site",)[:columns])
    rows = np.flatnonzero((labels != 2) | (np.arange(40) < 20))
    made = NuisanceOnly(Learning(class_weights="none"), n_classes=3, seed=0).fit(same, rows, labels[rows])
    shares = np.bincount(labels[rows]) / len(rows)
    np.testing.assert_allclose(made.predict(same, rows)[:, 0], np.tile(shares, (len(rows), 1)), atol=1e-3)


def test_nuisance_learns_from_its_rows_alone():
    inputs, labels = make_table(40, classes=3)
    rows = np.arange(0, 40, 2)
    first = NuisanceOnly(Learning(), n_classes=3, seed=0).fit(inputs, rows, labels[rows]).tensors()
    again = NuisanceOnly(Learning(), n_classes=3, seed=0).fit(other_rows_changed(inputs, rows), rows, labels[rows])
    assert first.keys() == set(NuisanceOnly.fitted)
    assert all(np.array_equal(first[name], again.tensors()[name]) for name in first)


def test_nuisance_restored_from_its_arrays_with_a_class_absent():
    inputs, labels = make_table(40, classes=3)
    rows = np.flatnonzero(labels != 1)
    made = NuisanceOnly(Learning(), n_classes=3, seed=0).fit(inputs, rows, labels[rows])
    new = NuisanceOnly(Learning(), n_classes=3, seed=0).restore(made.tensors())
    assert np.array_equal(new.predict(inputs, rows), made.predict(inputs, rows))
    assert (new.predict(inputs, rows)[..., 1] == 0).all()


# --- svm -----------------------------------------------------------------------------------------------------------


PLAIN = Learning(class_weights="none")


def reference(machine):
    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), machine)


@pytest.mark.parametrize("classes", [2, 3])
def test_svm_equals_sklearn_pipeline_with_platt_scaling(classes):
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


def test_svm_class_weights_reach_the_machine():
    inputs, labels = make_table(60, effect=1)
    rows = np.flatnonzero((labels == 0) | (np.arange(60) < 20))
    made = LinearSVM(Learning(), n_classes=2, seed=0).fit(inputs, rows, labels[rows])
    chain = reference(SVC(kernel="linear", class_weight="balanced")).fit(inputs.regions[rows], labels[rows])
    np.testing.assert_allclose(made.tensors()["coef"], chain[-1].coef_, atol=1e-9)
    np.testing.assert_allclose(made.tensors()["intercept"], chain[-1].intercept_, atol=1e-9)
    plain = LinearSVM(PLAIN, n_classes=2, seed=0).fit(inputs, rows, labels[rows])
    assert made.predict(inputs, rows)[..., 1].mean() > plain.predict(inputs, rows)[..., 1].mean()


def test_svm_weights_of_equal_sum():
    weights = balanced(np.array([True, False, False, False]))
    np.testing.assert_allclose(weights, [2, 2 / 3, 2 / 3, 2 / 3])


def test_svm_sigmoid_finds_platts_maximum():
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
def test_svm_probabilities_keep_the_machines_order_without_any_effect(seed):
    inputs, labels = make_table(40, effect=0, seed=seed)
    train, test = np.arange(30), np.arange(30, 40)
    made = LinearSVM(Learning(), n_classes=2, seed=seed).fit(inputs, train, labels[train])
    chain = reference(SVC(kernel="linear", class_weight="balanced")).fit(inputs.regions[train], labels[train])
    decisions = chain.decision_function(inputs.regions[test])
    assert (np.argsort(made.predict(inputs, test)[:, 0, 1]) == np.argsort(decisions)).all()
    assert roc_auc_score(labels[test], made.predict(inputs, test)[:, 0, 1]) == roc_auc_score(labels[test], decisions)


def test_svm_finds_an_effect_in_new_subjects():
    inputs, labels = make_table(120, effect=5)
    train, test = np.arange(80), np.arange(80, 120)
    made = LinearSVM(Learning(), n_classes=2, seed=0).fit(inputs, train, labels[train])
    assert roc_auc_score(labels[test], made.predict(inputs, test)[:, 0, 1]) > 0.9


def test_svm_fixed_sigmoid_where_a_class_has_one_subject():
    inputs, labels = make_table(20)
    rows = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:1]])
    fitted = LinearSVM(Learning(), n_classes=2, seed=0).fit(inputs, rows, labels[rows]).tensors()
    assert fitted["slope"].tolist() == [1.0]
    assert fitted["offset"].tolist() == [0.0]


@pytest.mark.parametrize("classes", [2, 3])
def test_svm_learns_from_its_rows_alone(classes):
    inputs, labels = make_table(45, classes=classes)
    rows = np.arange(0, 45, 2)
    first = LinearSVM(Learning(), n_classes=classes, seed=1).fit(inputs, rows, labels[rows]).tensors()
    changed = other_rows_changed(inputs, rows)
    again = LinearSVM(Learning(), n_classes=classes, seed=1).fit(changed, rows, labels[rows]).tensors()
    assert first.keys() == again.keys() == set(LinearSVM.fitted)
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_svm_restored_from_its_arrays():
    inputs, labels = make_table(40, classes=3)
    made = LinearSVM(Learning(), n_classes=3, seed=0).fit(inputs, np.arange(30), labels[:30])
    new = LinearSVM(Learning(), n_classes=3, seed=5).restore(made.tensors())
    assert np.array_equal(new.predict(inputs, np.arange(40)), made.predict(inputs, np.arange(40)))
    with pytest.raises(InputError, match="'slope'"):
        new.restore({name: values for name, values in made.tensors().items() if name != "slope"})


def test_svm_absent_class_has_probability_zero():
    inputs, labels = make_table(40, classes=3)
    rows = np.flatnonzero(labels != 1)
    probabilities = LinearSVM(Learning(), n_classes=3, seed=0).fit(inputs, rows, labels[rows]).predict(inputs, rows)
    assert (probabilities[..., 1] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1)


def test_svm_region_that_nobody_covers_changes_nothing():
    inputs, labels = make_table(40)
    empty = dataclasses.replace(inputs, regions=np.concatenate([inputs.regions, np.full((40, 1), np.nan)], axis=1))
    train, test = np.arange(30), np.arange(30, 40)
    first = LinearSVM(Learning(), n_classes=2, seed=0).fit(inputs, train, labels[train]).predict(inputs, test)
    empty.regions[test, -1] = 7.0
    second = LinearSVM(Learning(), n_classes=2, seed=0).fit(empty, train, labels[train]).predict(empty, test)
    np.testing.assert_allclose(first, second, atol=1e-12)


def test_svm_refuses_one_class_and_infinite_numbers():
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


# --- forest --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "weights"), [(2, "balanced"), (3, "none")])
def test_forest_equals_sklearn(classes, weights):
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


def test_forest_thresholds_in_double_precision_split_as_sklearn_does():
    # Values half a unit in the last place (of single precision) apart fall on either side as in the library.
    inputs, labels = make_table(40, effect=0, gaps=0)
    inputs.regions[:] = np.float32(1) + np.random.default_rng(1).integers(0, 6, inputs.regions.shape) * 6e-8
    made = RandomForest(Learning(), n_classes=2, seed=0).fit(inputs, np.arange(30), labels[:30])
    forest = RandomForestClassifier(500, class_weight="balanced", random_state=0).fit(inputs.regions[:30], labels[:30])
    np.testing.assert_allclose(
        made.predict(inputs, np.arange(40))[:, 0], forest.predict_proba(inputs.regions), atol=1e-12
    )


def test_forest_learns_from_its_rows_alone_and_repeats_itself():
    inputs, labels = make_table(30)
    rows = np.arange(0, 30, 2)
    first = RandomForest(Learning(), n_classes=2, seed=1).fit(inputs, rows, labels[rows]).tensors()
    again = RandomForest(Learning(), n_classes=2, seed=1).fit(other_rows_changed(inputs, rows), rows, labels[rows])
    assert first.keys() == set(RandomForest.fitted)
    assert all(np.array_equal(first[name], again.tensors()[name]) for name in first)
    other = RandomForest(Learning(), n_classes=2, seed=2).fit(inputs, rows, labels[rows]).tensors()
    assert not np.array_equal(first["threshold"], other["threshold"])


def test_forest_restored_from_its_arrays_and_finds_an_effect():
    inputs, labels = make_table(90, effect=5)
    made = RandomForest(Learning(), n_classes=2, seed=0).fit(inputs, np.arange(50), labels[:50])
    new = RandomForest(Learning(), n_classes=2, seed=5).restore(made.tensors())
    probabilities = new.predict(inputs, np.arange(50, 90))
    assert np.array_equal(probabilities, made.predict(inputs, np.arange(50, 90)))
    assert roc_auc_score(labels[50:], probabilities[:, 0, 1]) > 0.9


def test_forest_absent_class_has_probability_zero():
    inputs, labels = make_table(30, classes=3)
    rows = np.flatnonzero(labels != 0)
    probabilities = RandomForest(Learning(), n_classes=3, seed=0).fit(inputs, rows, labels[rows]).predict(inputs, rows)
    assert (probabilities[..., 0] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1)
