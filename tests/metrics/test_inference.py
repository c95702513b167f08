"""Intervals and tests against textbook values, worked examples, closed forms, brute force and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, chi2, t
from sklearn.datasets import make_moons
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from migxai.errors import InputError, UsageError
from migxai.metrics.inference import (
    clopper_pearson,
    corrected_t_test,
    delong_covariance,
    delong_interval,
    delong_test,
    holm,
    percentile_interval,
    resample_groups,
)
from migxai.metrics.scores import evaluate, score, sums

# DeLong, DeLong & Clarke-Pearson 1988: 43 patients with ovarian cancer; albumin, total protein, Krebs-Goplerud score
# (low is good), and whether surgery helped.
ALBUMIN = [
    *(3.0, 3.2, 3.9, 2.8, 3.2, 0.9, 2.5, 1.6, 3.8, 3.7, 3.2, 3.8, 4.1, 3.6, 4.3, 3.6, 2.3, 4.2, 4.0, 3.5, 3.8, 3.0),
    *(4.5, 3.7, 3.1, 4.1, 4.3, 4.3, 3.2, 2.6, 3.3, 1.7, 3.7, 3.3, 4.2, 3.5, 2.9, 2.1, 2.8, 4.0, 3.3, 3.7, 3.6),
]
PROTEIN = [
    *(5.8, 6.3, 6.8, 4.8, 5.8, 4.0, 5.7, 5.6, 5.7, 6.7, 5.4, 6.6, 6.6, 5.7, 7.0, 6.7, 4.4, 7.6, 6.6, 5.8, 6.8, 4.7),
    *(7.4, 7.4, 6.6, 8.2, 7.0, 6.5, 5.1, 4.7, 6.8, 4.0, 6.1, 6.3, 7.7, 6.2, 5.7, 4.8, 6.2, 7.0, 5.7, 6.9, 6.6),
]
SCORE = [
    *(10, 5, 3, 6, 3, 5, 8, 5, 5, 6, 4, 6, 5, 5, 4, 4, 6, 4, 6, 6, 7, 8),
    *(5, 5, 6, 6, 5, 4, 5, 6, 6, 7, 5, 7, 6, 5, 9, 7, 8, 7, 6, 5, 5),
]
HELPED = [int(one) for one in "0110100111111110100110" "111111110011110101111"]  # fmt: skip


@given(st.integers(1, 200), st.floats(0, 1))
def test_clopper_pearson_is_the_beta_quantiles(n, share):
    k = round(share * n)
    found = clopper_pearson(k, n)
    low = 0 if k == 0 else beta.ppf(0.025, k, n - k + 1)
    high = 1 if k == n else beta.ppf(0.975, k + 1, n - k)
    assert found == pytest.approx((low, high), abs=1e-9)


def test_clopper_pearson_of_nobody_is_undefined():
    assert np.isnan(clopper_pearson(0, 0)).all()
    # All of 10 right: the rule of 1 - (alpha / 2)^(1 / n).
    assert clopper_pearson(10, 10).low == pytest.approx(0.025**0.1)


def test_resamples_keep_the_size_of_each_class_and_depend_on_the_seed_alone():
    strata = np.array([0] * 28 + [1] * 21 + [2] * 15)
    found = resample_groups(strata, resamples=500, seed=3)
    for stratum, size in enumerate((28, 21, 15)):
        assert (found[:, strata == stratum].sum(axis=1) == size).all()
    assert found.mean(axis=0) == pytest.approx(1, abs=0.25)
    # The variance of a multinomial count is 1 - 1 / n.
    assert found[:, :28].var() == pytest.approx(1 - 1 / 28, rel=0.05)
    assert (found == resample_groups(strata, resamples=500, seed=3)).all()
    assert (found != resample_groups(strata, resamples=500, seed=4)).any()
    with pytest.raises(UsageError, match="at least one"):
        resample_groups(strata, resamples=0, seed=0)


def test_a_subject_takes_all_its_slices_along():
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(12), 5)
    y = (subject >= 6).astype(int)
    second = np.clip(rng.normal(0.4 + 0.2 * y, 0.2), 0.01, 0.99)
    p = np.stack([1 - second, second], axis=1)
    weights = resample_groups(np.repeat([0, 1], 6), resamples=20, seed=1)
    found = evaluate(sums(y, p, ("a", "b"), groups=subject, n_groups=12), weights)
    for b, counts in enumerate(weights):
        rows = np.concatenate([np.flatnonzero(subject == s) for s in np.repeat(np.arange(12), counts.astype(int))])
        assert found["roc_auc"][b] == pytest.approx(roc_auc_score(y[rows], p[rows, 1]))
        for name, value in score(y[rows], p[rows], ("a", "b")).items():
            assert found[name][b] == pytest.approx(value, nan_ok=True), name


def test_percentiles_leave_out_what_is_undefined_and_say_how_much():
    values = np.arange(1001.0)
    assert percentile_interval(values) == pytest.approx((25, 975, 0))
    values[:40] = np.nan
    found = percentile_interval(values)
    assert found.undefined == 40
    assert found.low == pytest.approx(40 + 0.025 * 960)
    values[:60] = np.nan
    assert np.isnan(percentile_interval(values).low)
    assert percentile_interval(values).undefined == 60


def test_bootstrap_and_delong_agree_on_an_area():
    rng = np.random.default_rng(5)
    y = np.repeat([0, 1], 100)
    second = 1 / (1 + np.exp(-rng.normal(1.0 * y)))
    parts = sums(y, np.stack([1 - second, second], axis=1), ("a", "b"), groups=np.arange(200), n_groups=200)
    found = percentile_interval(evaluate(parts, resample_groups(y, resamples=2000, seed=0))["roc_auc"])
    assert found[:2] == pytest.approx(delong_interval(y, second), abs=0.01)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 12), st.integers(1, 3))
def test_delong_covariance_equals_the_definition(seed, m, n, digits):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat([1, 0], [m, n]))
    scores = np.round(rng.normal(size=(3, m + n)), digits - 1)
    areas, covariance = delong_covariance(y, scores)
    # O(m n), straight from DeLong, DeLong & Clarke-Pearson.
    a, b = scores[:, y == 1][:, :, None], scores[:, y == 0][:, None, :]
    psi = (a > b) + 0.5 * (a == b)
    expected = np.cov(psi.mean(axis=2)) / m + np.cov(psi.mean(axis=1)) / n
    assert areas == pytest.approx(psi.mean(axis=(1, 2)), abs=1e-12)
    assert covariance == pytest.approx(expected, abs=1e-12)


def test_delong_says_nothing_where_it_knows_nothing():
    y = np.array([0, 0, 1, 1])
    assert np.isnan(delong_interval(y, np.array([0.1, 0.2, 0.8, 0.9]))).all()
    low, high = delong_interval(y, np.array([0.1, 0.85, 0.8, 0.9]))
    assert 0 <= low < 0.75 < high == 1
    with pytest.raises(InputError, match="1 and 3"):
        delong_covariance(np.array([0, 0, 0, 1]), np.zeros(4))


def test_delong_equals_its_authors_example():
    # Areas, errors and tests as SAS/STAT prints them (PROC LOGISTIC, example "Comparing ROC curves").
    y, scores = np.array(HELPED), np.array([ALBUMIN, [-one for one in SCORE], PROTEIN])
    areas, covariance = delong_covariance(y, scores)
    assert areas == pytest.approx([0.7366, 0.7258, 0.6478], abs=5e-5)
    assert np.sqrt(np.diag(covariance)) == pytest.approx([0.0927, 0.1028, 0.1000], abs=5e-5)
    found = delong_test(y, scores[2], scores[1])
    assert found.difference == pytest.approx(-0.0780, abs=5e-5)
    assert (found.low, found.high) == pytest.approx((-0.2830, 0.1271), abs=5e-5)
    assert found.statistic**2 == pytest.approx(0.5554, abs=5e-5)
    assert found.p == pytest.approx(0.4561, abs=5e-5)
    contrasts = np.array([[1, -1, 0], [0, -1, 1]])
    both = contrasts @ areas
    joint = both @ np.linalg.solve(contrasts @ covariance @ contrasts.T, both)
    assert joint == pytest.approx(2.5340, abs=5e-5)
    assert chi2.sf(joint, 2) == pytest.approx(0.2817, abs=5e-5)


def test_delong_of_equal_rankings():
    y, scores = np.array([0, 0, 0, 1, 1, 1]), np.array([0.1, 0.6, 0.3, 0.5, 0.2, 0.9])
    found = delong_test(y, scores, scores**3)
    assert (found.statistic, found.p) == (0, 1)
    apart = delong_test(y, y.astype(float), 1.0 - y)
    assert apart.difference == 1
    assert np.isnan(apart.p)


def test_corrected_t_equals_scikit_learns_worked_example():
    # "Statistical comparison of models using grid search", scikit-learn's documentation: 10 x 10 folds of 100 moons;
    # one-sided p values there.
    x, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    models = {"rbf": SVC(kernel="rbf"), "linear": SVC(kernel="linear"), "3_poly": SVC(kernel="poly", degree=3)}
    scores = {name: cross_val_score(model, x, y, scoring="roc_auc", cv=folds) for name, model in models.items()}
    found = corrected_t_test(scores["rbf"] - scores["linear"], 10 / 90)
    assert found.statistic == pytest.approx(0.750, abs=5e-4)
    assert found.p / 2 == pytest.approx(0.227, abs=5e-4)
    assert corrected_t_test(scores["rbf"] - scores["3_poly"], 10 / 90).statistic == pytest.approx(1.657, abs=5e-4)
    assert corrected_t_test(scores["linear"] - scores["3_poly"], 10 / 90).statistic == pytest.approx(1.111, abs=5e-4)


def test_corrected_t_by_hand():
    # Mean 0.05, variance 0.00125; error sqrt((1/4 + 1/3) 0.00125).
    found = corrected_t_test(np.array([0.0, 0.05, 0.05, 0.1]), 1 / 3)
    assert found.statistic == pytest.approx(0.05 / np.sqrt(7 / 12 * 0.005 / 3))
    assert found.df == 3
    assert found.p == pytest.approx(2 * t.sf(found.statistic, 3))
    assert (found.low + found.high) / 2 == pytest.approx(0.05)
    assert found.high - found.difference == pytest.approx(t.ppf(0.975, 3) * 0.05 / found.statistic)


def test_corrected_t_without_variance():
    assert corrected_t_test(np.zeros(5), 0.25)[3:] == (0, 4, 1)
    assert np.isnan(corrected_t_test(np.full(5, 0.1), 0.25).p)
    assert np.isnan(corrected_t_test(np.array([0.1]), 0.25).p)
    assert np.isnan(corrected_t_test(np.array([]), 0.25).p)
    with pytest.raises(UsageError, match="positive"):
        corrected_t_test(np.zeros(5), 0)
    with pytest.raises(InputError, match="finite"):
        corrected_t_test(np.array([0.1, np.nan]), 0.25)


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, np.nan, 0.9, 0.8]) == pytest.approx([0.03, np.nan, 1, 1], nan_ok=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_procedure_rejects(p):
    rejected, order = set(), np.argsort(p, kind="stable")
    for step, index in enumerate(order):
        if p[index] * (len(p) - step) > 0.05:
            break
        rejected.add(int(index))
    assert set(np.flatnonzero(holm(p) <= 0.05).tolist()) == rejected
