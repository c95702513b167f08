"""Permutation tests: uniform where there is nothing, small where there is something, and fair to sites and folds."""

from __future__ import annotations

import types

import numpy as np
import pytest
from scipy.stats import kstest
from scipy.stats import permutation_test as scipy_permutation_test

from migxai.config import Learning
from migxai.errors import InputError
from migxai.evaluation.permutation import (
    SCORES,
    cross_validated_scores,
    permutation_p_value,
    permuted_orders,
    permuted_scores,
    require_exchange,
)
from migxai.learning.crossval import run_fold
from migxai.learning.estimators import ESTIMATORS, EstimatorEntry
from migxai.learning.estimators.majority import Majority
from migxai.learning.splits import make_folds
from tests.evaluation.tables import make_table

NAMES = ("HC", "migraine")


def outcome(observed, null):
    return types.SimpleNamespace(observed=observed, null=null, p=permutation_p_value(observed, null))


def permutation_test(score_function, labels, *, permutations, seed, strata=None):
    require_exchange(labels, strata)
    orders = permuted_orders(len(labels), range(permutations), seed=seed, strata=strata)
    return outcome(score_function(labels), np.array([score_function(labels[order]) for order in orders]))


def permuted_cross_validation(name, inputs, labels, *, permutations, seed, classes=NAMES):
    folds = folds_of(labels)
    observed = cross_validated_scores(name, inputs, labels, folds, Learning(), classes=classes, seed=seed)
    numbers = range(permutations)
    null = permuted_scores(name, inputs, labels, folds, Learning(), classes=classes, numbers=numbers, seed=seed)
    return {name: outcome(observed[place], null[:, place]) for place, name in enumerate(SCORES)}


def difference(values):
    def score(labels):
        return values[labels == 1].mean() - values[labels == 0].mean()

    return score


def test_p_is_uniform_without_an_effect():
    ps = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.arange(24) % 2)
        ps.append(permutation_test(difference(rng.normal(size=24)), labels, permutations=99, seed=seed).p)
    assert kstest(ps, "uniform").pvalue > 0.01
    assert np.mean(np.array(ps) <= 0.05) == pytest.approx(0.05, abs=0.04)
    assert min(ps) >= 0.01


def test_agrees_with_scipy():
    rng = np.random.default_rng(3)
    labels = np.arange(30) % 2
    values = rng.normal(size=30) + 0.5 * labels
    ours = permutation_test(difference(values), labels, permutations=4999, seed=0)
    theirs = scipy_permutation_test(
        (values[labels == 1], values[labels == 0]), lambda a, b: a.mean() - b.mean(), alternative="greater",
        n_resamples=4999, rng=1,
    )  # fmt: skip
    assert ours.observed == pytest.approx(theirs.statistic)
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.02)


def test_p_counts_the_observed_labels_and_ties():
    labels = np.arange(10) % 2
    assert permutation_test(lambda _: 0.5, labels, permutations=19, seed=0).p == 1.0
    found = permutation_test(lambda given: float(np.array_equal(given, labels)), labels, permutations=19, seed=0)
    assert (found.observed, found.p) == (1.0, 1 / 20)
    assert found.null.shape == (19,)
    # Equal but for rounding is as high.
    tied = permutation_test(
        lambda given: 0.7 if np.array_equal(given, labels) else 0.7 - 1e-16, labels, permutations=9, seed=0
    )
    assert tied.p == 1.0


def test_labels_stay_within_their_site():
    sites = ["a"] * 7 + ["b"] * 5
    for order in permuted_orders(12, range(20), seed=0, strata=sites):
        assert sorted(order[:7]) == list(range(7))
        assert sorted(order[7:]) == list(range(7, 12))
    assert any((order[:7] != np.arange(7)).any() for order in permuted_orders(12, range(3), seed=0, strata=sites))


def test_site_effect_is_no_effect_within_sites():
    # Patients come from site b, and site b measures more: permuting over all people would call that an effect.
    rng = np.random.default_rng(0)
    sites = np.repeat(["a", "b"], 40)
    labels = np.concatenate([np.arange(40) % 5 == 0, np.arange(40) % 5 != 0]).astype(int)
    values = rng.normal(size=80) + 2 * (sites == "b")
    assert permutation_test(difference(values), labels, permutations=199, seed=0).p < 0.02
    assert permutation_test(difference(values), labels, permutations=199, seed=0, strata=sites).p > 0.05


def test_permutations_are_the_same_in_any_portions():
    whole = [order.tolist() for order in permuted_orders(9, range(6), seed=4)]
    parts = [order.tolist() for numbers in ([5, 0], [3]) for order in permuted_orders(9, numbers, seed=4)]
    assert parts == [whole[5], whole[0], whole[3]]
    assert len({tuple(order) for order in whole}) == 6


def test_refuses_what_cannot_be_tested():
    labels = np.arange(10) % 2
    with pytest.raises(InputError, match="within every site"):
        permutation_test(lambda _: 0.0, labels, permutations=9, seed=0, strata=labels)
    with pytest.raises(InputError, match="NaN"):
        permutation_test(lambda _: np.nan, labels, permutations=9, seed=0)


def folds_of(labels, trials=1):
    return make_folds(labels, ["a"] * len(labels), cv="kfold", folds=4, trials=trials, seed=0)[0]


def test_observed_scores_are_those_of_the_cross_validation():
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    inputs, labels = make_table(40)
    folds = folds_of(labels, trials=2)
    expected = []
    for trial in (1, 2):
        p = np.zeros(40)
        for fold in (fold for fold in folds if fold.trial == trial):
            result = run_fold("svm", inputs, labels, fold, classes=NAMES, settings=Learning(), seed=0)
            p[fold.test] = result.probabilities[:, 0, 1]
        expected.append([roc_auc_score(labels, p), balanced_accuracy_score(labels, p > 0.5)])
    found = cross_validated_scores("svm", inputs, labels, folds, Learning(), classes=NAMES, seed=0)
    np.testing.assert_allclose(found, np.mean(expected, axis=0))


@pytest.mark.parametrize("classes", [2, 3])
def test_strong_effect_is_found(classes):
    inputs, labels = make_table(42, classes=classes, effect=4)
    names = ("HC", "MWoA", "MWA")[:classes]
    found = permuted_cross_validation("nuisance", inputs, labels, classes=names, permutations=39, seed=0)
    assert set(found) == {"roc_auc", "balanced_accuracy"}
    svm = permuted_cross_validation("svm", inputs, labels, classes=names, permutations=39, seed=0)
    assert svm["roc_auc"].p == svm["balanced_accuracy"].p == 1 / 40
    assert svm["roc_auc"].null.shape == (39,)
    assert abs(svm["balanced_accuracy"].null.mean() - 1 / classes) < 0.05


def test_every_permutation_has_the_class_counts_of_the_folds(monkeypatch):
    seen = []

    class Spy(Majority):
        def fit(self, inputs, rows, labels):
            seen.append((tuple(sorted(inputs.subjects[row] for row in rows)), tuple(np.bincount(labels).tolist())))
            return super().fit(inputs, rows, labels)

    entry = EstimatorEntry(name="spy", title="Spy", make=Spy, tables=())
    monkeypatch.setitem(ESTIMATORS._entries, "spy", entry)
    inputs, labels = make_table(30)
    labels = (np.arange(30) % 3 == 0).astype(int)
    permuted_cross_validation("spy", inputs, labels, permutations=5, seed=0)
    assert len(seen) == 6 * 4
    assert [counts for _, counts in seen] == [counts for _, counts in seen[:4]] * 6
    assert len({people for people, _ in seen}) == 24, "who is trained on changes"


def test_p_of_a_cross_validation_is_not_small_without_an_effect():
    ps = []
    for seed in range(12):
        inputs, labels = make_table(24, effect=0, gaps=0, regions=4, seed=seed)
        found = permuted_cross_validation("svm", inputs, labels, permutations=9, seed=seed)
        ps.append(found["roc_auc"].p)
    # Of 12 draws from ten equally likely values, all above one half, or below, happens once in 2000 times.
    assert min(ps) <= 0.5 <= max(ps)
    assert 0.25 < np.mean(ps) < 0.8
