"""Bounds that random predictions keep and reach, and that the paper's Table 3 breaks."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from migxai.metrics.consistency import accuracy_reachable, auc_bounds, check_scores, f1_bounds, recall_bounds
from migxai.metrics.scores import score

NAMES = ("HC", "MWoA", "MWA")


@st.composite
def scored(draw, size=None):
    size = size or draw(st.sampled_from([2, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(size, 40))
    y = np.r_[np.arange(size), rng.choice(size, n - size, p=rng.dirichlet(np.ones(size)))]
    p = rng.dirichlet(np.ones(size), n)
    p[np.arange(n), y] += draw(st.sampled_from([0.0, 0.3, 2.0]))
    return y, p / p.sum(axis=1, keepdims=True), NAMES[:size]


@settings(deadline=None, max_examples=100)
@given(scored())
def test_no_predictions_are_found_impossible(case):
    y, p, names = case
    assert check_scores(score(y, p, names), shares=np.bincount(y).tolist(), thresholded=True) == []


@settings(deadline=None)
@given(st.lists(scored(size=3), min_size=2, max_size=4))
def test_nor_are_means_over_trials(cases):
    each = [score(*case) for case in cases]
    means = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    del means["recall_weighted"], means["recall_macro"]
    assert check_scores(means) == []


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_f1_bounds_hold_for_any_weights(seed, size):
    rng = np.random.default_rng(seed)
    p, r, w = rng.uniform(size=size) ** 3, rng.uniform(size=size), rng.dirichlet(np.ones(size))
    low, high = f1_bounds(w @ p, w @ r)
    assert low - 1e-12 <= w @ (2 * p * r / (p + r)) <= high + 1e-12


def test_f1_bounds_are_reached():
    assert f1_bounds(0.6, 0.6)[1] == pytest.approx(0.6)
    # Classes of (1, 1) and, all but, (0, 1): half of them have F1 = 1.
    assert f1_bounds(0.5, 1.0)[0] == 0.5
    assert f1_bounds(0.0, 0.0) == (0.0, 0.0)


def test_recall_bounds_equal_all_confusions():
    # Every way of getting some of 4 + 3 + 2 rows right.
    counts = np.array([4, 3, 2])
    hits = np.stack(np.meshgrid(*[np.arange(n + 1) for n in counts], indexing="ij"), axis=-1).reshape(-1, 3)
    recalls = (hits / counts).mean(axis=1)
    for right in range(10):
        low, high = recall_bounds(right / 9, counts.tolist())
        assert (low, high) == pytest.approx(
            (recalls[hits.sum(axis=1) == right].min(), recalls[hits.sum(axis=1) == right].max())
        )


def test_auc_bounds():
    assert auc_bounds(0.8, 0.7) == pytest.approx((0.56, 0.94))
    scores = {"sensitivity": 0.8, "specificity": 0.7, "roc_auc": 0.95}
    assert "between 0.5600 and 0.9400" in check_scores(scores, thresholded=True)[0]
    assert check_scores(scores) == []


def test_the_papers_table_3():
    values = {"accuracy": 0.9844, "precision_macro": 0.8644, "recall_macro": 0.841, "f1_macro": 0.983}
    first, second = check_scores(values, shares=[28, 21, 15], tolerance=5e-4)
    assert first.startswith("F1 0.9830 is impossible beside precision 0.8644 and recall 0.8410")
    assert "harmonic mean, 0.8530" in first
    # One error in 64 costs at most 1 / 15 of one of three recalls.
    assert second.startswith("Recall 0.8410 is impossible beside accuracy 0.9844")
    weighted = {name.replace("macro", "weighted"): value for name, value in values.items()}
    assert [one.split()[0] for one in check_scores(weighted, tolerance=5e-4)] == ["F1", "recall_weighted"]
    # The support vector machine's numbers of the same table can be macro averages.
    svm = {"accuracy": 0.5071, "precision_macro": 0.477, "recall_macro": 0.4674, "f1_macro": 0.4691}
    assert check_scores(svm, shares=[28, 21, 15], tolerance=5e-4) == []


def test_ranges_and_identities():
    assert check_scores({"accuracy": 98.4, "brier": 1.9, "log_loss": 7.0, "f1_macro": np.nan}) == [
        "accuracy 98.4000 is outside 0 to 1."
    ]
    assert "differ, but are one" in check_scores({"recall_macro": 0.8, "balanced_accuracy": 0.7})[0]


def test_accuracies_that_counts_can_give():
    assert accuracy_reachable(63 / 64, 0, [64])
    assert not accuracy_reachable(0.98, 0.005 / 2, [64])
    assert accuracy_reachable(0.98, 0.005, [64])
    # 98.71 %: of 4 x 64 subjects 252 right are 98.44 % and 253 are 98.83 %; of 4 x 1920 slices 7581 are right.
    assert not accuracy_reachable(0.9871, 5e-5, [64], trials=4)
    assert accuracy_reachable(0.9871, 5e-5, [1920], trials=4)
    assert not accuracy_reachable(0.9871, 5e-5, [13, 13, 13, 13, 12], trials=4)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(2, 14), min_size=1, max_size=5), st.integers(1, 4))
@example(seed=934887, sizes=[6, 7], trials=1)
def test_accuracies_that_happened_are_reachable(seed, sizes, trials):
    rng = np.random.default_rng(seed)
    accuracy = np.mean([[rng.integers(0, n + 1) / n for n in sizes] for _ in range(trials)])
    assert accuracy_reachable(accuracy, 0, sizes, trials)
    assert accuracy_reachable(np.round(accuracy, 4), 5e-5, sizes, trials)


def test_reachable_accuracies_equal_all_there_are():
    every = {round((a / 3 + b / 4 + c / 4) / 3, 9) for a in range(4) for b in range(5) for c in range(5)}
    for value in np.round(np.arange(0, 1.0001, 0.001), 3):
        near = any(abs(value - one) <= 5e-4 for one in every)
        assert accuracy_reachable(value, 5e-4, [3, 4, 4]) == near, value
