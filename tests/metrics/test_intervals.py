"""Intervals against textbook values, closed forms and scikit-learn on every resample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.metrics import roc_auc_score

from migxai.errors import InputError, UsageError
from migxai.metrics.intervals import (
    clopper_pearson,
    delong_covariance,
    delong_interval,
    percentile_interval,
    resample_groups,
)
from migxai.metrics.scores import evaluate, score, sums


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
